// A Vulkan layer for tests: it asks the driver what its compiler says of each compute pipeline that is made, and writes that
// to the file that ULLM_VKSTATISTICS names, anew for each pipeline: lines of a name, a tab and a number, then an empty line,
// then the disassembly. It serves one device at a time. RADV's device without hardware has no memory either; the layer lends it
// some, on paper.
#include "layer.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
	ST_EXECUTABLE_FEATURES = 1000269000,
	ST_EXECUTABLE_INFO = 1000269003,
	ST_EXECUTABLE_STATISTIC = 1000269004,
	ST_EXECUTABLE_REPRESENTATION = 1000269005,
	CAPTURE_STATISTICS = 0x40,
	CAPTURE_REPRESENTATIONS = 0x80,
};

#define EXTENSION "VK_KHR_pipeline_executable_properties"

typedef struct {
	HEADER;
	VkPipeline pipeline;
	uint32_t executable;
} ExecutableInfo;

typedef struct {
	HEADER;
	char name[256], description[256];
	uint32_t format; // 0: a boolean, 1: signed, 2: unsigned, 3: a double
	uint64_t value;
} Statistic;

typedef struct {
	HEADER;
	char name[256], description[256];
	VkBool32 text;
	size_t size;
	void *data;
} Representation;

static VkDevice device;

#define NEXT(name, ...) VkResult(VKAPI *name)(__VA_ARGS__) = (VkResult(VKAPI *)(__VA_ARGS__))next_device(device, #name)

static void attached(void) {}

static VkResult VKAPI create_device(VkPhysicalDevice physical, const VkDeviceCreateInfo *info, const void *allocator, VkDevice *out) {
	CreateDevice create = enter_device(info);
	const char *names[64];
	if (create == NULL || info->n_extensions >= 64) return -3;
	for (uint32_t i = 0; i < info->n_extensions; i++) names[i] = info->extensions[i];
	names[info->n_extensions] = EXTENSION;
	Features4 features = {.sType = ST_EXECUTABLE_FEATURES, .pNext = info->pNext, .v = {1}};
	VkDeviceCreateInfo more = *info;
	more.pNext = &features;
	more.extensions = names;
	more.n_extensions++;
	VkResult r = create(physical, &more, allocator, out);
	device = *out;
	return r;
}

// describe writes what the compiler says of a pipeline.
static VkResult describe(VkPipeline pipeline, FILE *to) {
	NEXT(vkGetPipelineExecutableStatisticsKHR, VkDevice, const ExecutableInfo *, uint32_t *, Statistic *);
	NEXT(vkGetPipelineExecutableInternalRepresentationsKHR, VkDevice, const ExecutableInfo *, uint32_t *, Representation *);
	static Statistic statistics[64];
	static Representation representations[16];
	ExecutableInfo which = {.sType = ST_EXECUTABLE_INFO, .pipeline = pipeline};
	uint32_t n = 64;
	for (uint32_t i = 0; i < n; i++) statistics[i].sType = ST_EXECUTABLE_STATISTIC;
	VkResult r = vkGetPipelineExecutableStatisticsKHR(device, &which, &n, statistics);
	if (r != 0) return r;
	for (uint32_t i = 0; i < n; i++) fprintf(to, "%s\t%" PRIu64 "\n", statistics[i].name, statistics[i].value);
	n = 16;
	memset(representations, 0, sizeof representations);
	for (uint32_t i = 0; i < n; i++) representations[i].sType = ST_EXECUTABLE_REPRESENTATION;
	r = vkGetPipelineExecutableInternalRepresentationsKHR(device, &which, &n, representations);
	for (uint32_t i = 0; r == 0 && i < n; i++) {
		representations[i].data = malloc(representations[i].size + 1);
		if (representations[i].data == NULL) r = -1;
	}
	if (r == 0) r = vkGetPipelineExecutableInternalRepresentationsKHR(device, &which, &n, representations);
	for (uint32_t i = 0; i < n; i++) {
		if (r == 0 && strcmp(representations[i].name, "Assembly") == 0)
			fprintf(to, "\n%.*s", (int)representations[i].size, (char *)representations[i].data);
		free(representations[i].data);
	}
	return r;
}

static VkResult VKAPI create_pipelines(VkDevice d, VkPipelineCache cache, uint32_t n, const VkComputePipelineCreateInfo *infos, const void *allocator,
	VkPipeline *out) {
	NEXT(vkCreateComputePipelines, VkDevice, VkPipelineCache, uint32_t, const VkComputePipelineCreateInfo *, const void *, VkPipeline *);
	const char *path = getenv("ULLM_VKSTATISTICS");
	if (n != 1 || path == NULL) return -3;
	VkComputePipelineCreateInfo info = *infos;
	info.flags |= CAPTURE_STATISTICS | CAPTURE_REPRESENTATIONS;
	VkResult r = vkCreateComputePipelines(d, cache, 1, &info, allocator, out);
	if (r != 0) return r;
	FILE *to = fopen(path, "w");
	if (to == NULL) return -3;
	r = describe(*out, to);
	return fclose(to) == 0 ? r : -3;
}

// There is nothing to wait for, and the driver would fall over it.
static VkResult VKAPI wait_idle(VkDevice d) {
	(void)d;
	return 0;
}

static VoidFunction VKAPI get_device(VkDevice d, const char *name) {
	if (strcmp(name, "vkCreateComputePipelines") == 0) return (VoidFunction)create_pipelines;
	if (strcmp(name, "vkDeviceWaitIdle") == 0) return (VoidFunction)wait_idle;
	return next_device(d, name);
}

static void VKAPI memory_properties(VkPhysicalDevice physical, VkPhysicalDeviceMemoryProperties2 *out) {
	out->n_heaps = 2;
	out->heaps[0] = (VkMemoryHeap){16ul << 30, 1 /* the device's */};
	out->heaps[1] = (VkMemoryHeap){16ul << 30, 0};
	out->n_types = 2;
	out->types[0] = (VkMemoryType){1 /* the device's */, 0};
	out->types[1] = (VkMemoryType){2 | 4 | 8 /* visible, coherent, cached */, 1};
}

static VoidFunction of_instance(const char *name) {
	return strcmp(name, "vkGetPhysicalDeviceMemoryProperties2") == 0 ? (VoidFunction)memory_properties : NULL;
}
