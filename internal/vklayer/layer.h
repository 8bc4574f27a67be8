// What Vulkan layers for tests have in common: the part of the loader's layer interface that they use, as its specification
// has it. A layer defines create_device, and get_device and of_instance, which answer for the functions that it stands before.
#ifndef ULLM_VKLAYER_H
#define ULLM_VKLAYER_H

#include "vk_abi.h"

#include <string.h>

// What the loader chains to the structs that create instances and devices: the next layer's functions.
typedef struct chain_link {
	struct chain_link *next;
	GetInstanceProcAddr get_instance;
	VoidFunction get; // of physical devices, or of devices
} chain_link;

typedef struct {
	HEADER;
	uint32_t function; // 0: a link
	chain_link *layer;
} LoaderInfo;

enum { LOADER_INSTANCE_INFO = 47, LOADER_DEVICE_INFO = 48 };

// take_link takes this layer's link from a chain; NULL: there is none.
static chain_link *take_link(const void *pNext, uint32_t type) {
	for (const Chained *c = pNext; c != NULL; c = c->pNext) {
		LoaderInfo *l = (LoaderInfo *)c;
		if (c->sType != type || l->function != 0) continue;
		chain_link *link = l->layer;
		l->layer = link->next;
		return link;
	}
	return NULL;
}

typedef VkResult(VKAPI *CreateInstance)(const VkInstanceCreateInfo *, const void *, VkInstance *);
typedef VkResult(VKAPI *CreateDevice)(VkPhysicalDevice, const VkDeviceCreateInfo *, const void *, VkDevice *);

// The next layer's, or the driver's.
static GetInstanceProcAddr next_instance;
static GetDeviceProcAddr next_device;

static VkResult VKAPI create_device(VkPhysicalDevice physical, const VkDeviceCreateInfo *info, const void *allocator, VkDevice *out);
static VoidFunction VKAPI get_device(VkDevice d, const char *name);
// of_instance is this layer's function for an instance or a physical device; NULL: it has none of that name.
static VoidFunction of_instance(const char *name);
// attached is called before an instance is made.
static void attached(void);

static VkResult VKAPI create_instance(const VkInstanceCreateInfo *info, const void *allocator, VkInstance *out) {
	chain_link *l = take_link(info->pNext, LOADER_INSTANCE_INFO);
	if (l == NULL) return -3;
	attached();
	next_instance = l->get_instance;
	return ((CreateInstance)next_instance(NULL, "vkCreateInstance"))(info, allocator, out);
}

// enter_device takes this layer's link to a device and is the vkCreateDevice behind it; NULL: there is no link.
static CreateDevice enter_device(const VkDeviceCreateInfo *info) {
	chain_link *l = take_link(info->pNext, LOADER_DEVICE_INFO);
	if (l == NULL) return NULL;
	next_device = (GetDeviceProcAddr)l->get;
	return (CreateDevice)l->get_instance(NULL, "vkCreateDevice");
}

static VoidFunction VKAPI get_instance(VkInstance i, const char *name) {
	if (strcmp(name, "vkCreateInstance") == 0) return (VoidFunction)create_instance;
	if (strcmp(name, "vkCreateDevice") == 0) return (VoidFunction)create_device;
	if (strcmp(name, "vkGetInstanceProcAddr") == 0) return (VoidFunction)get_instance;
	if (strcmp(name, "vkGetDeviceProcAddr") == 0) return (VoidFunction)get_device;
	VoidFunction own = of_instance(name);
	if (own != NULL || next_instance == NULL) return own;
	return next_instance(i, name);
}

// What the loader asks for first.
typedef struct {
	uint32_t sType;
	void *pNext;
	uint32_t version;
	GetInstanceProcAddr get_instance;
	GetDeviceProcAddr get_device;
	VoidFunction get_physical;
} Negotiation;

__attribute__((visibility("default"))) VkResult VKAPI vkNegotiateLoaderLayerInterfaceVersion(Negotiation *n) {
	n->version = 2;
	n->get_instance = get_instance;
	n->get_device = get_device;
	n->get_physical = NULL;
	return 0;
}

#endif
