// Declarations of the Vulkan API that vk.c uses, written after the Vulkan specification, so that building needs no headers.
#ifndef ULLM_VK_ABI_H
#define ULLM_VK_ABI_H

#include <stddef.h>
#include <stdint.h>

#if defined(_WIN32)
#define VKAPI __stdcall
#else
#define VKAPI
#endif

typedef int32_t VkResult;
typedef uint32_t VkFlags, VkBool32;
typedef uint64_t VkDeviceSize, VkDeviceAddress;
// Dispatchable handles are pointers everywhere; the others are 64 bits wide.
typedef void *VkInstance, *VkPhysicalDevice, *VkDevice, *VkQueue, *VkCommandBuffer;
typedef uint64_t VkBuffer, VkDeviceMemory, VkFence, VkSemaphore, VkShaderModule, VkPipeline, VkPipelineLayout, VkPipelineCache,
	VkCommandPool, VkQueryPool, VkDescriptorSetLayout, VkDescriptorPool, VkDescriptorSet, VkDebugUtilsMessengerEXT;

enum {
	ST_APPLICATION_INFO = 0,
	ST_INSTANCE_CREATE_INFO = 1,
	ST_DEVICE_QUEUE_CREATE_INFO = 2,
	ST_DEVICE_CREATE_INFO = 3,
	ST_SUBMIT_INFO = 4,
	ST_MEMORY_ALLOCATE_INFO = 5,
	ST_FENCE_CREATE_INFO = 8,
	ST_QUERY_POOL_CREATE_INFO = 11,
	ST_BUFFER_CREATE_INFO = 12,
	ST_SHADER_MODULE_CREATE_INFO = 16,
	ST_PIPELINE_CACHE_CREATE_INFO = 17,
	ST_PIPELINE_SHADER_STAGE_CREATE_INFO = 18,
	ST_COMPUTE_PIPELINE_CREATE_INFO = 29,
	ST_PIPELINE_LAYOUT_CREATE_INFO = 30,
	ST_DESCRIPTOR_SET_LAYOUT_CREATE_INFO = 32,
	ST_DESCRIPTOR_POOL_CREATE_INFO = 33,
	ST_DESCRIPTOR_SET_ALLOCATE_INFO = 34,
	ST_WRITE_DESCRIPTOR_SET = 35,
	ST_COMMAND_POOL_CREATE_INFO = 39,
	ST_COMMAND_BUFFER_ALLOCATE_INFO = 40,
	ST_COMMAND_BUFFER_BEGIN_INFO = 42,
	ST_MEMORY_BARRIER = 46,
	ST_FEATURES_2 = 1000059000,
	ST_PROPERTIES_2 = 1000059001,
	ST_MEMORY_PROPERTIES_2 = 1000059006,
	ST_MEMORY_ALLOCATE_FLAGS_INFO = 1000060000,
	ST_SHADER_FLOAT16_INT8_FEATURES = 1000082000,
	ST_16BIT_STORAGE_FEATURES = 1000083000,
	ST_SUBGROUP_PROPERTIES = 1000094000,
	ST_DEBUG_UTILS_MESSENGER_CREATE_INFO = 1000128004,
	ST_MAINTENANCE_3_PROPERTIES = 1000168000,
	ST_8BIT_STORAGE_FEATURES = 1000177000,
	ST_DRIVER_PROPERTIES = 1000196000,
	ST_VULKAN_MEMORY_MODEL_FEATURES = 1000211000,
	ST_SUBGROUP_SIZE_CONTROL_PROPERTIES = 1000225000,
	ST_REQUIRED_SUBGROUP_SIZE_CREATE_INFO = 1000225001,
	ST_SUBGROUP_SIZE_CONTROL_FEATURES = 1000225002,
	ST_MEMORY_BUDGET_PROPERTIES = 1000237000,
	ST_BUFFER_DEVICE_ADDRESS_INFO = 1000244001,
	ST_VALIDATION_FEATURES = 1000247000,
	ST_BUFFER_DEVICE_ADDRESS_FEATURES = 1000257000,
	ST_INTEGER_DOT_PRODUCT_FEATURES = 1000280000,
	ST_INTEGER_DOT_PRODUCT_PROPERTIES = 1000280001,
	ST_COOPERATIVE_MATRIX_FEATURES = 1000506000,
	ST_COOPERATIVE_MATRIX_PROPERTIES = 1000506001,
};

// Header is how every extensible struct begins.
#define HEADER        \
	uint32_t sType; \
	const void *pNext

typedef struct {
	HEADER;
} Chained;

typedef struct {
	HEADER;
	const char *application;
	uint32_t application_version;
	const char *engine;
	uint32_t engine_version, api_version;
} VkApplicationInfo;

typedef struct {
	HEADER;
	VkFlags flags;
	const VkApplicationInfo *application;
	uint32_t n_layers;
	const char *const *layers;
	uint32_t n_extensions;
	const char *const *extensions;
} VkInstanceCreateInfo;

typedef struct {
	HEADER;
	VkFlags flags;
	const char *id;
	int32_t number;
	const char *text;
	// labels and objects follow
} VkDebugUtilsMessengerCallbackDataEXT;

typedef VkBool32(VKAPI *MessageFunction)(VkFlags severity, VkFlags types, const VkDebugUtilsMessengerCallbackDataEXT *data, void *user);

typedef struct {
	HEADER;
	VkFlags flags, severity, types;
	MessageFunction callback;
	void *user;
} VkDebugUtilsMessengerCreateInfoEXT;

typedef struct {
	HEADER;
	uint32_t n_enabled;
	const uint32_t *enabled;
	uint32_t n_disabled;
	const uint32_t *disabled;
} VkValidationFeaturesEXT;

typedef struct {
	VkBool32 v[55]; // VkPhysicalDeviceFeatures; see FEATURE_INT64
} VkPhysicalDeviceFeatures;

enum { FEATURE_INT64 = 40 };

typedef struct {
	HEADER;
	VkPhysicalDeviceFeatures features;
} VkPhysicalDeviceFeatures2;

// Structs of one to four booleans behind the header.
typedef struct {
	HEADER;
	VkBool32 v[4];
} Features4;

typedef struct {
	uint32_t apiVersion, driverVersion, vendorID, deviceID, deviceType;
	char deviceName[256];
	uint8_t pipelineCacheUUID[16];
	uint32_t padding; // VkPhysicalDeviceLimits is aligned to 8 bytes
	// VkPhysicalDeviceLimits
	uint32_t maxImageDimension1D, maxImageDimension2D, maxImageDimension3D, maxImageDimensionCube, maxImageArrayLayers,
		maxTexelBufferElements, maxUniformBufferRange, maxStorageBufferRange, maxPushConstantsSize, maxMemoryAllocationCount,
		maxSamplerAllocationCount;
	VkDeviceSize bufferImageGranularity, sparseAddressSpaceSize;
	uint32_t maxBoundDescriptorSets, maxPerStage[7], maxDescriptorSet[8];
	uint32_t maxVertexInput[4], maxVertexOutputComponents, maxTessellation[8], maxGeometry[5], maxFragment[4];
	uint32_t maxComputeSharedMemorySize, maxComputeWorkGroupCount[3], maxComputeWorkGroupInvocations, maxComputeWorkGroupSize[3];
	uint32_t bits[3], maxDraw[2];
	float maxSampler[2];
	uint32_t maxViewports, maxViewportDimensions[2];
	float viewportBoundsRange[2];
	uint32_t viewportSubPixelBits;
	size_t minMemoryMapAlignment;
	VkDeviceSize minTexelBufferOffsetAlignment, minUniformBufferOffsetAlignment, minStorageBufferOffsetAlignment;
	int32_t minTexelOffset;
	uint32_t maxTexelOffset;
	int32_t minTexelGatherOffset;
	uint32_t maxTexelGatherOffset;
	float interpolationOffset[2];
	uint32_t subPixelInterpolationOffsetBits, maxFramebuffer[3], framebufferSamples[4], maxColorAttachments, sampledSamples[4],
		storageImageSampleCounts, maxSampleMaskWords;
	VkBool32 timestampComputeAndGraphics;
	float timestampPeriod;
	uint32_t maxClip[3], discreteQueuePriorities;
	float pointSizeRange[2], lineWidthRange[2], pointSizeGranularity, lineWidthGranularity;
	VkBool32 strictLines, standardSampleLocations;
	VkDeviceSize optimalBufferCopyOffsetAlignment, optimalBufferCopyRowPitchAlignment, nonCoherentAtomSize;
	VkBool32 sparse[5];
} VkPhysicalDeviceProperties;

typedef struct {
	HEADER;
	VkPhysicalDeviceProperties properties;
} VkPhysicalDeviceProperties2;

typedef struct {
	HEADER;
	uint32_t subgroupSize;
	VkFlags stages, operations;
	VkBool32 quad;
} VkPhysicalDeviceSubgroupProperties;

typedef struct {
	HEADER;
	uint32_t minSubgroupSize, maxSubgroupSize, maxComputeWorkgroupSubgroups;
	VkFlags stages;
} VkPhysicalDeviceSubgroupSizeControlProperties;

typedef struct {
	HEADER;
	uint32_t maxPerSetDescriptors;
	VkDeviceSize maxMemoryAllocationSize;
} VkPhysicalDeviceMaintenance3Properties;

typedef struct {
	HEADER;
	uint32_t driverID;
	char driverName[256], driverInfo[256];
	uint8_t conformance[4];
} VkPhysicalDeviceDriverProperties;

enum { ACCELERATED_4X8_PACKED_SIGNED = 4 };

typedef struct {
	HEADER;
	VkBool32 v[30]; // see ACCELERATED_4X8_PACKED_SIGNED
} VkPhysicalDeviceShaderIntegerDotProductProperties;

enum { COMPONENT_FLOAT16 = 0, COMPONENT_FLOAT32 = 1, SCOPE_SUBGROUP = 3 };

typedef struct {
	HEADER;
	uint32_t m, n, k, a, b, c, result;
	VkBool32 saturating;
	uint32_t scope;
} VkCooperativeMatrixPropertiesKHR;

typedef struct {
	uint32_t flags, heap;
} VkMemoryType;

typedef struct {
	VkDeviceSize size;
	VkFlags flags;
} VkMemoryHeap;

typedef struct {
	HEADER;
	uint32_t n_types;
	VkMemoryType types[32];
	uint32_t n_heaps;
	VkMemoryHeap heaps[16];
} VkPhysicalDeviceMemoryProperties2;

typedef struct {
	HEADER;
	VkDeviceSize budget[16], usage[16];
} VkPhysicalDeviceMemoryBudgetPropertiesEXT;

typedef struct {
	VkFlags flags;
	uint32_t count, timestamp_bits, granularity[3];
} VkQueueFamilyProperties;

typedef struct {
	char name[256];
	uint32_t version;
} VkExtensionProperties;

typedef struct {
	HEADER;
	VkFlags flags;
	uint32_t family, count;
	const float *priorities;
} VkDeviceQueueCreateInfo;

typedef struct {
	HEADER;
	VkFlags flags;
	uint32_t n_queues;
	const VkDeviceQueueCreateInfo *queues;
	uint32_t n_layers;
	const char *const *layers;
	uint32_t n_extensions;
	const char *const *extensions;
	const VkPhysicalDeviceFeatures *features;
} VkDeviceCreateInfo;

typedef struct {
	HEADER;
	VkFlags flags;
	VkDeviceSize size;
	VkFlags usage;
	uint32_t sharing, n_families;
	const uint32_t *families;
} VkBufferCreateInfo;

typedef struct {
	VkDeviceSize size, alignment;
	uint32_t types;
} VkMemoryRequirements;

typedef struct {
	HEADER;
	VkDeviceSize size;
	uint32_t type;
} VkMemoryAllocateInfo;

typedef struct {
	HEADER;
	VkFlags flags;
	uint32_t mask;
} VkMemoryAllocateFlagsInfo;

typedef struct {
	HEADER;
	VkBuffer buffer;
} VkBufferDeviceAddressInfo;

typedef struct {
	HEADER;
	VkFlags flags;
	size_t size;
	const void *data;
} Blob; // VkShaderModuleCreateInfo and VkPipelineCacheCreateInfo

typedef struct {
	uint32_t id, offset;
	size_t size;
} VkSpecializationMapEntry;

typedef struct {
	uint32_t n;
	const VkSpecializationMapEntry *entries;
	size_t size;
	const void *data;
} VkSpecializationInfo;

typedef struct {
	HEADER;
	uint32_t size;
} VkPipelineShaderStageRequiredSubgroupSizeCreateInfo;

enum { STAGE_REQUIRE_FULL_SUBGROUPS = 2 };

typedef struct {
	HEADER;
	VkFlags flags;
	uint32_t stage;
	VkShaderModule module;
	const char *name;
	const VkSpecializationInfo *specialization;
} VkPipelineShaderStageCreateInfo;

enum { DESCRIPTOR_STORAGE_BUFFER = 7 };

typedef struct {
	uint32_t binding, type, count;
	VkFlags stages;
	const void *samplers;
} VkDescriptorSetLayoutBinding;

typedef struct {
	HEADER;
	VkFlags flags;
	uint32_t n;
	const VkDescriptorSetLayoutBinding *bindings;
} VkDescriptorSetLayoutCreateInfo;

typedef struct {
	uint32_t type, count;
} VkDescriptorPoolSize;

typedef struct {
	HEADER;
	VkFlags flags;
	uint32_t sets, n;
	const VkDescriptorPoolSize *sizes;
} VkDescriptorPoolCreateInfo;

typedef struct {
	HEADER;
	VkDescriptorPool pool;
	uint32_t n;
	const VkDescriptorSetLayout *layouts;
} VkDescriptorSetAllocateInfo;

typedef struct {
	VkBuffer buffer;
	VkDeviceSize offset, range;
} VkDescriptorBufferInfo;

typedef struct {
	HEADER;
	VkDescriptorSet set;
	uint32_t binding, element, count, type;
	const void *images;
	const VkDescriptorBufferInfo *buffers;
	const void *views;
} VkWriteDescriptorSet;

typedef struct {
	VkFlags stages;
	uint32_t offset, size;
} VkPushConstantRange;

typedef struct {
	HEADER;
	VkFlags flags;
	uint32_t n_sets;
	const VkDescriptorSetLayout *sets;
	uint32_t n_ranges;
	const VkPushConstantRange *ranges;
} VkPipelineLayoutCreateInfo;

typedef struct {
	HEADER;
	VkFlags flags;
	VkPipelineShaderStageCreateInfo stage;
	VkPipelineLayout layout;
	VkPipeline base;
	int32_t base_index;
} VkComputePipelineCreateInfo;

typedef struct {
	HEADER;
	VkFlags flags;
	uint32_t family;
} VkCommandPoolCreateInfo;

typedef struct {
	HEADER;
	VkCommandPool pool;
	uint32_t level, count;
} VkCommandBufferAllocateInfo;

typedef struct {
	HEADER;
	VkFlags flags;
	const void *inheritance;
} VkCommandBufferBeginInfo;

typedef struct {
	HEADER;
	VkFlags from, to;
} VkMemoryBarrier;

typedef struct {
	VkDeviceSize from, to, size;
} VkBufferCopy;

typedef struct {
	HEADER;
	VkFlags flags;
} VkFenceCreateInfo;

typedef struct {
	HEADER;
	VkFlags flags;
	uint32_t type, count, statistics;
} VkQueryPoolCreateInfo;

typedef struct {
	HEADER;
	uint32_t n_waits;
	const VkSemaphore *waits;
	const VkFlags *stages;
	uint32_t n_commands;
	const VkCommandBuffer *commands;
	uint32_t n_signals;
	const VkSemaphore *signals;
} VkSubmitInfo;

typedef void(VKAPI *VoidFunction)(void);
typedef VoidFunction(VKAPI *GetInstanceProcAddr)(VkInstance, const char *);
typedef VoidFunction(VKAPI *GetDeviceProcAddr)(VkDevice, const char *);

#endif
