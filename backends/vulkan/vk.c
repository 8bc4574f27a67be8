#include "vk.h"
#include "vk_abi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#if defined(_WIN32)
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#else
#include <dlfcn.h>
#endif

#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

void *ullm_loader_open(void) {
#if defined(_WIN32)
	// From the system or from beside the program, never from the working directory.
	HMODULE m = LoadLibraryExA("vulkan-1.dll", NULL, LOAD_LIBRARY_SEARCH_DEFAULT_DIRS);
	return m == NULL ? NULL : (void *)GetProcAddress(m, "vkGetInstanceProcAddr");
#else
	void *m = dlopen("libvulkan.so.1", RTLD_NOW | RTLD_LOCAL);
	return m == NULL ? NULL : dlsym(m, "vkGetInstanceProcAddr");
#endif
}

#define INSTANCE_FUNCTION(get, instance, type, name) type name = (type)((GetInstanceProcAddr)(get))(instance, #name)

// Messages of the validation layers.

typedef struct message {
	struct message *next;
	char text[];
} message;

// chain is what a VkInstanceCreateInfo points to while the layers are on.
struct chain {
	VkValidationFeaturesEXT features;
	VkDebugUtilsMessengerCreateInfoEXT messages;
};

struct ullm_log {
	char lock; // of what follows; layers call back from any thread
	message *first, *last;
	struct chain chain;
	VkDebugUtilsMessengerEXT messenger;
};

ullm_log *ullm_log_new(void) { return calloc(1, sizeof(ullm_log)); }

void ullm_log_free(ullm_log *l) {
	while (l != NULL && l->first != NULL) {
		message *m = l->first;
		l->first = m->next;
		free(m);
	}
	free(l);
}

static void lock(ullm_log *l) {
	while (__atomic_test_and_set(&l->lock, __ATOMIC_ACQUIRE)) {
	}
}

static void unlock(ullm_log *l) { __atomic_clear(&l->lock, __ATOMIC_RELEASE); }

int ullm_log_take(ullm_log *l, char *text, size_t size) {
	lock(l);
	message *m = l->first;
	if (m != NULL) {
		l->first = m->next;
		if (l->first == NULL) l->last = NULL;
	}
	unlock(l);
	if (m == NULL) return 0;
	strncpy(text, m->text, size - 1);
	text[size - 1] = 0;
	free(m);
	return 1;
}

static VkBool32 VKAPI on_message(VkFlags severity, VkFlags types, const VkDebugUtilsMessengerCallbackDataEXT *data, void *user) {
	(void)severity, (void)types;
	ullm_log *l = user;
	// Newer layers no longer begin the text with the message's name.
	const char *id = data->id == NULL || strstr(data->text, data->id) != NULL ? "" : data->id;
	size_t n = strlen(data->text) + strlen(id) + 3;
	message *m = malloc(sizeof(message) + n);
	if (m == NULL) return 0;
	m->next = NULL;
	snprintf(m->text, n, "%s%s%s", id, id[0] == 0 ? "" : ": ", data->text);
	lock(l);
	if (l->last != NULL) l->last->next = m;
	else l->first = m;
	l->last = m;
	unlock(l);
	return 0;
}

typedef VkResult(VKAPI *CreateMessenger)(VkInstance, const VkDebugUtilsMessengerCreateInfoEXT *, const void *, VkDebugUtilsMessengerEXT *);
typedef void(VKAPI *DestroyMessenger)(VkInstance, VkDebugUtilsMessengerEXT, const void *);

static const uint32_t checks[] = {2 /* best practices */, 4 /* synchronisation */};

const void *ullm_log_chain(ullm_log *l) {
	struct chain *c = &l->chain;
	c->messages = (VkDebugUtilsMessengerCreateInfoEXT){.sType = ST_DEBUG_UTILS_MESSENGER_CREATE_INFO,
		.severity = 0x1100 /* warnings, errors */, .types = 6 /* validation, performance */, .callback = on_message, .user = l};
	c->features = (VkValidationFeaturesEXT){.sType = ST_VALIDATION_FEATURES, .pNext = &c->messages, .n_enabled = COUNT(checks), .enabled = checks};
	return &c->features;
}

int ullm_log_start(void *get_proc, void *instance, ullm_log *l) {
	INSTANCE_FUNCTION(get_proc, instance, CreateMessenger, vkCreateDebugUtilsMessengerEXT);
	return vkCreateDebugUtilsMessengerEXT == NULL ? -7 : vkCreateDebugUtilsMessengerEXT(instance, &l->chain.messages, NULL, &l->messenger);
}

void ullm_log_stop(void *get_proc, void *instance, ullm_log *l) {
	INSTANCE_FUNCTION(get_proc, instance, DestroyMessenger, vkDestroyDebugUtilsMessengerEXT);
	if (l->messenger != 0) vkDestroyDebugUtilsMessengerEXT(instance, l->messenger, NULL);
	l->messenger = 0;
}

// Physical device.

typedef VkResult(VKAPI *GetMatrices)(VkPhysicalDevice, uint32_t *, VkCooperativeMatrixPropertiesKHR *);
typedef VkResult(VKAPI *EnumerateExtensions)(VkPhysicalDevice, const char *, uint32_t *, VkExtensionProperties *);
typedef void(VKAPI *GetFeatures2)(VkPhysicalDevice, VkPhysicalDeviceFeatures2 *);
typedef void(VKAPI *GetProperties2)(VkPhysicalDevice, VkPhysicalDeviceProperties2 *);
typedef void(VKAPI *GetMemoryProperties2)(VkPhysicalDevice, VkPhysicalDeviceMemoryProperties2 *);
typedef void(VKAPI *GetQueueFamilies)(VkPhysicalDevice, uint32_t *, VkQueueFamilyProperties *);
typedef void(VKAPI *GetProperties)(VkPhysicalDevice, VkPhysicalDeviceProperties *);

static int has(const VkExtensionProperties *list, uint32_t n, const char *name) {
	for (uint32_t i = 0; i < n; i++)
		if (strcmp(list[i].name, name) == 0) return 1;
	return 0;
}

static void copy_text(char *to, const char *from) {
	strncpy(to, from, 255);
	to[255] = 0;
}

// probe_shapes keeps the shapes of cooperative matrices that shaders may use.
static void probe_shapes(void *get_proc, void *instance, void *physical, ullm_physical *out) {
	INSTANCE_FUNCTION(get_proc, instance, GetMatrices, vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR);
	uint32_t n = 0;
	if (vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR == NULL || vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR(physical, &n, NULL) != 0) return;
	VkCooperativeMatrixPropertiesKHR *list = calloc(n + 1, sizeof *list);
	if (list == NULL) return;
	for (uint32_t i = 0; i < n; i++) list[i].sType = ST_COOPERATIVE_MATRIX_PROPERTIES;
	if (vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR(physical, &n, list) < 0) n = 0;
	for (uint32_t i = 0; i < n && out->shapes < COUNT(out->shape); i++) {
		const VkCooperativeMatrixPropertiesKHR *p = &list[i];
		if (p->a != COMPONENT_FLOAT16 || p->b != COMPONENT_FLOAT16 || p->c != COMPONENT_FLOAT32 || p->result != COMPONENT_FLOAT32 || p->scope != SCOPE_SUBGROUP)
			continue;
		out->shape[out->shapes].m = p->m, out->shape[out->shapes].n = p->n, out->shape[out->shapes].k = p->k;
		out->shapes++;
	}
	free(list);
}

#define CHAIN(list, s) ((s).pNext = (list), (list) = &(s))

void ullm_physical_probe(void *get_proc, void *instance, void *physical, ullm_physical *out) {
	INSTANCE_FUNCTION(get_proc, instance, EnumerateExtensions, vkEnumerateDeviceExtensionProperties);
	INSTANCE_FUNCTION(get_proc, instance, GetProperties, vkGetPhysicalDeviceProperties);
	INSTANCE_FUNCTION(get_proc, instance, GetFeatures2, vkGetPhysicalDeviceFeatures2);
	INSTANCE_FUNCTION(get_proc, instance, GetProperties2, vkGetPhysicalDeviceProperties2);
	INSTANCE_FUNCTION(get_proc, instance, GetQueueFamilies, vkGetPhysicalDeviceQueueFamilyProperties);
	memset(out, 0, sizeof *out);
	out->queue_family = UINT32_MAX;
	VkPhysicalDeviceProperties base;
	vkGetPhysicalDeviceProperties(physical, &base);
	out->api_version = base.apiVersion;
	copy_text(out->name, base.deviceName);
	const uint32_t v11 = 1u << 22 | 1u << 12, v12 = 1u << 22 | 2u << 12, v13 = 1u << 22 | 3u << 12;
	if (base.apiVersion < v11) return;

	uint32_t n = 0;
	VkExtensionProperties *list = NULL;
	if (vkEnumerateDeviceExtensionProperties(physical, NULL, &n, NULL) == 0) list = malloc((n + 1) * sizeof *list);
	if (list == NULL || vkEnumerateDeviceExtensionProperties(physical, NULL, &n, list) < 0) n = 0;
	const int v = base.apiVersion >= v12 ? 2 : 1;
	const int address = v >= 2 || has(list, n, "VK_KHR_buffer_device_address");
	const int storage8 = v >= 2 || has(list, n, "VK_KHR_8bit_storage");
	const int half_types = v >= 2 || has(list, n, "VK_KHR_shader_float16_int8");
	const int driver = v >= 2 || has(list, n, "VK_KHR_driver_properties");
	const int control = base.apiVersion >= v13 || has(list, n, "VK_EXT_subgroup_size_control");
	const int dot = base.apiVersion >= v13 || has(list, n, "VK_KHR_shader_integer_dot_product");
	out->memory_budget = has(list, n, "VK_EXT_memory_budget");
	const int matrix = has(list, n, "VK_KHR_cooperative_matrix");
	const int model = v >= 2 || has(list, n, "VK_KHR_vulkan_memory_model");
	out->executable_properties = has(list, n, "VK_KHR_pipeline_executable_properties");
	free(list);

	VkPhysicalDeviceSubgroupProperties subgroup = {.sType = ST_SUBGROUP_PROPERTIES};
	VkPhysicalDeviceMaintenance3Properties maintenance = {.sType = ST_MAINTENANCE_3_PROPERTIES};
	VkPhysicalDeviceDriverProperties drivers = {.sType = ST_DRIVER_PROPERTIES};
	VkPhysicalDeviceSubgroupSizeControlProperties sizes = {.sType = ST_SUBGROUP_SIZE_CONTROL_PROPERTIES};
	VkPhysicalDeviceShaderIntegerDotProductProperties speeds = {.sType = ST_INTEGER_DOT_PRODUCT_PROPERTIES};
	VkPhysicalDeviceProperties2 p = {.sType = ST_PROPERTIES_2};
	const void *chain = NULL;
	CHAIN(chain, subgroup);
	CHAIN(chain, maintenance);
	if (driver) CHAIN(chain, drivers);
	if (control) CHAIN(chain, sizes);
	if (dot) CHAIN(chain, speeds);
	p.pNext = chain;
	vkGetPhysicalDeviceProperties2(physical, &p);
	out->driver_version = base.driverVersion;
	out->vendor = base.vendorID;
	out->device = base.deviceID;
	out->type = base.deviceType;
	copy_text(out->driver, drivers.driverName);
	copy_text(out->driver_info, drivers.driverInfo);
	memcpy(out->cache_uuid, base.pipelineCacheUUID, 16);
	out->max_workgroup_invocations = base.maxComputeWorkGroupInvocations;
	out->max_workgroup_count_x = base.maxComputeWorkGroupCount[0];
	out->max_workgroup_count_y = base.maxComputeWorkGroupCount[1];
	out->max_shared_memory = base.maxComputeSharedMemorySize;
	out->max_push_constants = base.maxPushConstantsSize;
	out->max_storage_range = base.maxStorageBufferRange;
	out->max_allocation = maintenance.maxMemoryAllocationSize;
	out->max_allocations = base.maxMemoryAllocationCount;
	out->timestamp_period = base.timestampPeriod;
	out->subgroup_size = subgroup.subgroupSize;
	out->shuffle = (subgroup.stages & 0x20) != 0 && (subgroup.operations & 0x10) != 0;
	out->min_subgroup_size = sizes.minSubgroupSize;
	out->max_subgroup_size = sizes.maxSubgroupSize;
	out->atom = base.nonCoherentAtomSize;

	Features4 addresses = {.sType = ST_BUFFER_DEVICE_ADDRESS_FEATURES};
	Features4 storages16 = {.sType = ST_16BIT_STORAGE_FEATURES};
	Features4 storages8 = {.sType = ST_8BIT_STORAGE_FEATURES};
	Features4 halves = {.sType = ST_SHADER_FLOAT16_INT8_FEATURES};
	Features4 controls = {.sType = ST_SUBGROUP_SIZE_CONTROL_FEATURES};
	Features4 dots = {.sType = ST_INTEGER_DOT_PRODUCT_FEATURES};
	Features4 models = {.sType = ST_VULKAN_MEMORY_MODEL_FEATURES};
	Features4 matrices = {.sType = ST_COOPERATIVE_MATRIX_FEATURES};
	VkPhysicalDeviceFeatures2 f = {.sType = ST_FEATURES_2};
	chain = NULL;
	CHAIN(chain, storages16);
	if (address) CHAIN(chain, addresses);
	if (storage8) CHAIN(chain, storages8);
	if (half_types) CHAIN(chain, halves);
	if (control) CHAIN(chain, controls);
	if (dot) CHAIN(chain, dots);
	if (model) CHAIN(chain, models);
	if (matrix) CHAIN(chain, matrices);
	f.pNext = chain;
	vkGetPhysicalDeviceFeatures2(physical, &f);
	out->int64 = f.features.v[FEATURE_INT64];
	out->buffer_address = addresses.v[0];
	out->storage16 = storages16.v[0];
	out->storage8 = storages8.v[0];
	out->float16 = halves.v[0];
	out->int8 = halves.v[1];
	out->subgroup_control = controls.v[0];
	out->full_subgroups = controls.v[1] && (sizes.stages & 0x20) != 0;
	out->memory_model = models.v[0] && models.v[1];
	out->cooperative_matrix = matrices.v[0];
	if (matrices.v[0]) probe_shapes(get_proc, instance, physical, out);
	out->integer_dot = dots.v[0];
	out->integer_dot_fast = dots.v[0] && speeds.v[ACCELERATED_4X8_PACKED_SIGNED];

	VkQueueFamilyProperties families[32];
	uint32_t count = 0, best = 0;
	vkGetPhysicalDeviceQueueFamilyProperties(physical, &count, NULL);
	if (count > COUNT(families)) count = COUNT(families);
	vkGetPhysicalDeviceQueueFamilyProperties(physical, &count, families);
	for (uint32_t i = 0; i < count; i++) {
		// A family that only computes does not wait for a desktop's drawing.
		uint32_t score = families[i].flags & 2 ? families[i].flags & 1 ? 1 : 2 : 0;
		if (score > best) {
			best = score;
			out->queue_family = i;
			out->timestamp_bits = families[i].timestamp_bits;
		}
	}
	ullm_physical_budget(get_proc, instance, physical, out);
}

void ullm_physical_budget(void *get_proc, void *instance, void *physical, ullm_physical *out) {
	INSTANCE_FUNCTION(get_proc, instance, GetMemoryProperties2, vkGetPhysicalDeviceMemoryProperties2);
	VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {.sType = ST_MEMORY_BUDGET_PROPERTIES};
	VkPhysicalDeviceMemoryProperties2 m = {.sType = ST_MEMORY_PROPERTIES_2};
	if (out->memory_budget) m.pNext = &budget;
	vkGetPhysicalDeviceMemoryProperties2(physical, &m);
	out->memory_types = m.n_types;
	for (uint32_t i = 0; i < m.n_types; i++) {
		out->type_flags[i] = m.types[i].flags;
		out->type_heap[i] = m.types[i].heap;
	}
	out->heaps = m.n_heaps;
	for (uint32_t i = 0; i < m.n_heaps; i++) {
		out->heap_size[i] = m.heaps[i].size;
		out->heap_flags[i] = m.heaps[i].flags;
		out->heap_budget[i] = budget.budget[i];
		out->heap_usage[i] = budget.usage[i];
	}
}
