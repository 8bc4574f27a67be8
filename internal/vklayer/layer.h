// What Vulkan layers for tests have in common: the part of the loader's layer interface that they use, as its specification
// has it. A layer defines get_instance and get_device, which answer for the functions that it stands before.
#ifndef ULLM_VKLAYER_H
#define ULLM_VKLAYER_H

#include "vk_abi.h"

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

static VoidFunction VKAPI get_instance(VkInstance i, const char *name);
static VoidFunction VKAPI get_device(VkDevice d, const char *name);

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
