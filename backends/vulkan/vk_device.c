#include "vk.h"
#include "vk_abi.h"

#include <stdlib.h>
#include <string.h>

// POINTER turns a 64-bit handle into the pointer that Go holds, and HANDLE back.
#define POINTER(h) ((void *)(uintptr_t)(h))
#define HANDLE(p) ((uint64_t)(uintptr_t)(p))

// The device's functions, looked up once.
#define FUNCTIONS(F)                                                                                                        \
	F(VkResult, vkDeviceWaitIdle, (VkDevice))                                                                            \
	F(void, vkDestroyDevice, (VkDevice, const void *))                                                                   \
	F(void, vkGetDeviceQueue, (VkDevice, uint32_t, uint32_t, VkQueue *))                                                 \
	F(VkResult, vkCreateBuffer, (VkDevice, const VkBufferCreateInfo *, const void *, VkBuffer *))                        \
	F(void, vkDestroyBuffer, (VkDevice, VkBuffer, const void *))                                                         \
	F(void, vkGetBufferMemoryRequirements, (VkDevice, VkBuffer, VkMemoryRequirements *))                                 \
	F(VkResult, vkAllocateMemory, (VkDevice, const VkMemoryAllocateInfo *, const void *, VkDeviceMemory *))              \
	F(void, vkFreeMemory, (VkDevice, VkDeviceMemory, const void *))                                                      \
	F(VkResult, vkBindBufferMemory, (VkDevice, VkBuffer, VkDeviceMemory, VkDeviceSize))                                  \
	F(VkResult, vkMapMemory, (VkDevice, VkDeviceMemory, VkDeviceSize, VkDeviceSize, VkFlags, void **))                   \
	F(VkResult, vkCreatePipelineCache, (VkDevice, const Blob *, const void *, VkPipelineCache *))                        \
	F(VkResult, vkGetPipelineCacheData, (VkDevice, VkPipelineCache, size_t *, void *))                                   \
	F(void, vkDestroyPipelineCache, (VkDevice, VkPipelineCache, const void *))                                           \
	F(VkResult, vkCreateShaderModule, (VkDevice, const Blob *, const void *, VkShaderModule *))                          \
	F(void, vkDestroyShaderModule, (VkDevice, VkShaderModule, const void *))                                             \
	F(VkResult, vkCreatePipelineLayout, (VkDevice, const VkPipelineLayoutCreateInfo *, const void *, VkPipelineLayout *)) \
	F(void, vkDestroyPipelineLayout, (VkDevice, VkPipelineLayout, const void *))                                         \
	F(VkResult, vkCreateDescriptorSetLayout, (VkDevice, const VkDescriptorSetLayoutCreateInfo *, const void *, VkDescriptorSetLayout *)) \
	F(void, vkDestroyDescriptorSetLayout, (VkDevice, VkDescriptorSetLayout, const void *))                               \
	F(VkResult, vkCreateDescriptorPool, (VkDevice, const VkDescriptorPoolCreateInfo *, const void *, VkDescriptorPool *)) \
	F(void, vkDestroyDescriptorPool, (VkDevice, VkDescriptorPool, const void *))                                         \
	F(VkResult, vkAllocateDescriptorSets, (VkDevice, const VkDescriptorSetAllocateInfo *, VkDescriptorSet *))            \
	F(void, vkUpdateDescriptorSets, (VkDevice, uint32_t, const VkWriteDescriptorSet *, uint32_t, const void *))          \
	F(void, vkCmdBindDescriptorSets, (VkCommandBuffer, uint32_t, VkPipelineLayout, uint32_t, uint32_t, const VkDescriptorSet *, uint32_t, const uint32_t *)) \
	F(VkResult, vkCreateComputePipelines, (VkDevice, VkPipelineCache, uint32_t, const VkComputePipelineCreateInfo *, const void *, VkPipeline *)) \
	F(void, vkDestroyPipeline, (VkDevice, VkPipeline, const void *))                                                     \
	F(VkResult, vkCreateCommandPool, (VkDevice, const VkCommandPoolCreateInfo *, const void *, VkCommandPool *))         \
	F(void, vkDestroyCommandPool, (VkDevice, VkCommandPool, const void *))                                               \
	F(VkResult, vkResetCommandPool, (VkDevice, VkCommandPool, VkFlags))                                                  \
	F(VkResult, vkAllocateCommandBuffers, (VkDevice, const VkCommandBufferAllocateInfo *, VkCommandBuffer *))            \
	F(VkResult, vkBeginCommandBuffer, (VkCommandBuffer, const VkCommandBufferBeginInfo *))                               \
	F(VkResult, vkEndCommandBuffer, (VkCommandBuffer))                                                                   \
	F(VkResult, vkCreateFence, (VkDevice, const VkFenceCreateInfo *, const void *, VkFence *))                           \
	F(void, vkDestroyFence, (VkDevice, VkFence, const void *))                                                           \
	F(VkResult, vkResetFences, (VkDevice, uint32_t, const VkFence *))                                                    \
	F(VkResult, vkWaitForFences, (VkDevice, uint32_t, const VkFence *, VkBool32, uint64_t))                              \
	F(VkResult, vkQueueSubmit, (VkQueue, uint32_t, const VkSubmitInfo *, VkFence))                                       \
	F(void, vkCmdBindPipeline, (VkCommandBuffer, uint32_t, VkPipeline))                                                  \
	F(void, vkCmdPushConstants, (VkCommandBuffer, VkPipelineLayout, VkFlags, uint32_t, uint32_t, const void *))          \
	F(void, vkCmdDispatch, (VkCommandBuffer, uint32_t, uint32_t, uint32_t))                                              \
	F(void, vkCmdCopyBuffer, (VkCommandBuffer, VkBuffer, VkBuffer, uint32_t, const VkBufferCopy *))                      \
	F(void, vkCmdFillBuffer, (VkCommandBuffer, VkBuffer, VkDeviceSize, VkDeviceSize, uint32_t))                          \
	F(void, vkCmdPipelineBarrier, (VkCommandBuffer, VkFlags, VkFlags, VkFlags, uint32_t, const VkMemoryBarrier *, uint32_t, const void *, uint32_t, const void *)) \
	F(VkResult, vkCreateQueryPool, (VkDevice, const VkQueryPoolCreateInfo *, const void *, VkQueryPool *))               \
	F(void, vkDestroyQueryPool, (VkDevice, VkQueryPool, const void *))                                                   \
	F(void, vkCmdResetQueryPool, (VkCommandBuffer, VkQueryPool, uint32_t, uint32_t))                                     \
	F(void, vkCmdWriteTimestamp, (VkCommandBuffer, VkFlags, VkQueryPool, uint32_t))                                      \
	F(VkResult, vkGetQueryPoolResults, (VkDevice, VkQueryPool, uint32_t, uint32_t, size_t, void *, VkDeviceSize, VkFlags))

struct ullm_device {
	VkDevice device;
	VkQueue queue;
	VkDescriptorSetLayout set_layout;
	VkPipelineLayout layout;
	uint32_t family;
	char abandoned;
	VkDeviceAddress(VKAPI *address)(VkDevice, const VkBufferDeviceAddressInfo *);
#define F(result, name, arguments) result(VKAPI *name) arguments;
	FUNCTIONS(F)
#undef F
};

typedef VkResult(VKAPI *CreateDevice)(VkPhysicalDevice, const VkDeviceCreateInfo *, const void *, VkDevice *);

int ullm_device_create(void *get_proc, void *instance, void *physical, const ullm_physical *p, int matrices, ullm_device **out) {
	GetInstanceProcAddr get = (GetInstanceProcAddr)get_proc;
	CreateDevice create = (CreateDevice)get(instance, "vkCreateDevice");
	GetDeviceProcAddr get_device = (GetDeviceProcAddr)get(instance, "vkGetDeviceProcAddr");
	if (create == NULL || get_device == NULL) return -3;
	const int v12 = p->api_version >= (1u << 22 | 2u << 12), v13 = p->api_version >= (1u << 22 | 3u << 12);
	const char *extensions[8];
	uint32_t n = 0;
	if (!v12) {
		extensions[n++] = "VK_KHR_buffer_device_address";
	}
	if (p->integer_dot && !v13) extensions[n++] = "VK_KHR_shader_integer_dot_product";
	if (p->memory_budget) extensions[n++] = "VK_EXT_memory_budget";

	if (matrices) {
		extensions[n++] = "VK_KHR_cooperative_matrix";
		if (!v12) extensions[n++] = "VK_KHR_vulkan_memory_model";
		if (!v12) extensions[n++] = "VK_KHR_shader_float16_int8";
		if (!v13) extensions[n++] = "VK_EXT_subgroup_size_control";
	}
	Features4 addresses = {.sType = ST_BUFFER_DEVICE_ADDRESS_FEATURES, .v = {1}};
	Features4 dots = {.sType = ST_INTEGER_DOT_PRODUCT_FEATURES, .v = {1}};
	if (p->integer_dot) addresses.pNext = &dots;
	Features4 cooperative = {.sType = ST_COOPERATIVE_MATRIX_FEATURES, .v = {1}};
	Features4 models = {.sType = ST_VULKAN_MEMORY_MODEL_FEATURES, .pNext = &cooperative, .v = {1, 1 /* of the device, for atomics */}};
	Features4 halves = {.sType = ST_SHADER_FLOAT16_INT8_FEATURES, .pNext = &models, .v = {1}};
	Features4 storages = {.sType = ST_16BIT_STORAGE_FEATURES, .pNext = &halves, .v = {1}};
	Features4 controls = {.sType = ST_SUBGROUP_SIZE_CONTROL_FEATURES, .pNext = &storages, .v = {1, 1}};
	if (matrices) dots.pNext = &controls;
	if (matrices && !p->integer_dot) addresses.pNext = &controls;
	VkPhysicalDeviceFeatures2 features = {.sType = ST_FEATURES_2, .pNext = &addresses};
	features.features.v[FEATURE_INT64] = 1;
	const float priority = 1;
	VkDeviceQueueCreateInfo queue = {.sType = ST_DEVICE_QUEUE_CREATE_INFO, .family = p->queue_family, .count = 1, .priorities = &priority};
	VkDeviceCreateInfo info = {.sType = ST_DEVICE_CREATE_INFO, .pNext = &features, .n_queues = 1, .queues = &queue,
		.n_extensions = n, .extensions = extensions};
	ullm_device *d = calloc(1, sizeof *d);
	if (d == NULL) return -1;
	VkResult r = create(physical, &info, NULL, &d->device);
	if (r != 0) {
		free(d);
		return r;
	}
	int missing = 0;
#define F(result, name, arguments)                                              \
	d->name = (result(VKAPI *) arguments)get_device(d->device, #name); \
	missing |= d->name == NULL;
	FUNCTIONS(F)
#undef F
	d->address = (VkDeviceAddress(VKAPI *)(VkDevice, const VkBufferDeviceAddressInfo *))get_device(d->device,
		v12 ? "vkGetBufferDeviceAddress" : "vkGetBufferDeviceAddressKHR");
	if (missing || d->address == NULL) {
		if (d->vkDestroyDevice != NULL) d->vkDestroyDevice(d->device, NULL);
		free(d);
		return -3;
	}
	d->family = p->queue_family;
	d->vkGetDeviceQueue(d->device, d->family, 0, &d->queue);
	VkDescriptorSetLayoutBinding bindings[ULLM_BINDINGS];
	for (uint32_t i = 0; i < ULLM_BINDINGS; i++)
		bindings[i] = (VkDescriptorSetLayoutBinding){.binding = i, .type = DESCRIPTOR_STORAGE_BUFFER, .count = 1, .stages = 0x20};
	VkDescriptorSetLayoutCreateInfo set = {.sType = ST_DESCRIPTOR_SET_LAYOUT_CREATE_INFO, .n = ULLM_BINDINGS, .bindings = bindings};
	r = d->vkCreateDescriptorSetLayout(d->device, &set, NULL, &d->set_layout);
	VkPushConstantRange range = {.stages = 0x20, .size = 128};
	VkPipelineLayoutCreateInfo layout = {.sType = ST_PIPELINE_LAYOUT_CREATE_INFO, .n_sets = 1, .sets = &d->set_layout, .n_ranges = 1, .ranges = &range};
	if (r == 0) r = d->vkCreatePipelineLayout(d->device, &layout, NULL, &d->layout);
	if (r != 0) {
		d->vkDestroyDescriptorSetLayout(d->device, d->set_layout, NULL);
		d->vkDestroyDevice(d->device, NULL);
		free(d);
		return r;
	}
	*out = d;
	return 0;
}

void ullm_device_destroy(ullm_device *d) {
	d->vkDestroyPipelineLayout(d->device, d->layout, NULL);
	d->vkDestroyDescriptorSetLayout(d->device, d->set_layout, NULL);
	d->vkDestroyDevice(d->device, NULL);
	free(d);
}

void ullm_device_abandon(ullm_device *d) { __atomic_store_n(&d->abandoned, 1, __ATOMIC_RELEASE); }

static int abandoned(ullm_device *d) { return __atomic_load_n(&d->abandoned, __ATOMIC_ACQUIRE); }

int ullm_device_wait_idle(ullm_device *d) { return d->vkDeviceWaitIdle(d->device); }

int ullm_memory_create(ullm_device *d, uint64_t bytes, uint32_t type, int map, ullm_memory *out) {
	// transfer source and destination, storage, device address
	VkBufferCreateInfo info = {.sType = ST_BUFFER_CREATE_INFO, .size = bytes, .usage = 0x20023};
	VkBuffer buffer = 0;
	VkDeviceMemory memory = 0;
	memset(out, 0, sizeof *out);
	VkResult r = d->vkCreateBuffer(d->device, &info, NULL, &buffer);
	if (r != 0) return r;
	VkMemoryRequirements need;
	d->vkGetBufferMemoryRequirements(d->device, buffer, &need);
	if ((need.types >> type & 1) == 0) {
		d->vkDestroyBuffer(d->device, buffer, NULL);
		return -8;
	}
	VkMemoryAllocateFlagsInfo flags = {.sType = ST_MEMORY_ALLOCATE_FLAGS_INFO, .flags = 2 /* device address */};
	VkMemoryAllocateInfo allocate = {.sType = ST_MEMORY_ALLOCATE_INFO, .pNext = &flags, .size = need.size, .type = type};
	r = d->vkAllocateMemory(d->device, &allocate, NULL, &memory);
	if (r == 0) r = d->vkBindBufferMemory(d->device, buffer, memory, 0);
	if (r == 0 && map) r = d->vkMapMemory(d->device, memory, 0, ~(VkDeviceSize)0, 0, &out->mapped);
	out->buffer = POINTER(buffer);
	out->memory = POINTER(memory);
	if (r != 0) {
		ullm_memory_destroy(d, out);
		return r;
	}
	VkBufferDeviceAddressInfo address = {.sType = ST_BUFFER_DEVICE_ADDRESS_INFO, .buffer = buffer};
	out->address = d->address(d->device, &address);
	return 0;
}

void ullm_memory_destroy(ullm_device *d, ullm_memory *m) {
	if (abandoned(d)) return;
	d->vkDestroyBuffer(d->device, HANDLE(m->buffer), NULL);
	d->vkFreeMemory(d->device, HANDLE(m->memory), NULL); // unmaps
	memset(m, 0, sizeof *m);
}

int ullm_cache_create(ullm_device *d, const void *data, size_t size, void **cache) {
	Blob info = {.sType = ST_PIPELINE_CACHE_CREATE_INFO, .size = size, .data = data};
	VkPipelineCache c = 0;
	VkResult r = d->vkCreatePipelineCache(d->device, &info, NULL, &c);
	*cache = POINTER(c);
	return r;
}

int ullm_cache_data(ullm_device *d, void *cache, void *data, size_t *size) {
	return d->vkGetPipelineCacheData(d->device, HANDLE(cache), size, data);
}

void ullm_cache_destroy(ullm_device *d, void *cache) { d->vkDestroyPipelineCache(d->device, HANDLE(cache), NULL); }

int ullm_pipeline_create(ullm_device *d, void *cache, const void *code, size_t size, const uint32_t *constants, uint32_t n, uint32_t subgroup,
	void **out) {
	VkSpecializationMapEntry entries[16];
	if (n > 16) return -3;
	for (uint32_t i = 0; i < n; i++) entries[i] = (VkSpecializationMapEntry){i, 4 * i, 4};
	VkSpecializationInfo specialization = {n, entries, 4 * n, constants};
	Blob module_info = {.sType = ST_SHADER_MODULE_CREATE_INFO, .size = size, .data = code};
	VkShaderModule module = 0;
	VkResult r = d->vkCreateShaderModule(d->device, &module_info, NULL, &module);
	if (r != 0) return r;
	VkPipelineShaderStageRequiredSubgroupSizeCreateInfo width = {.sType = ST_REQUIRED_SUBGROUP_SIZE_CREATE_INFO, .size = subgroup};
	VkComputePipelineCreateInfo info = {.sType = ST_COMPUTE_PIPELINE_CREATE_INFO,
		.stage = {.sType = ST_PIPELINE_SHADER_STAGE_CREATE_INFO, .stage = 0x20, .module = module, .name = "main", .specialization = &specialization},
		.layout = d->layout, .base_index = -1};
	if (subgroup != 0) {
		info.stage.pNext = &width;
		info.stage.flags = STAGE_REQUIRE_FULL_SUBGROUPS;
	}
	VkPipeline pipeline = 0;
	r = d->vkCreateComputePipelines(d->device, HANDLE(cache), 1, &info, NULL, &pipeline);
	d->vkDestroyShaderModule(d->device, module, NULL);
	*out = POINTER(pipeline);
	return r;
}

void ullm_pipeline_destroy(ullm_device *d, void *pipeline) { d->vkDestroyPipeline(d->device, HANDLE(pipeline), NULL); }

int ullm_sets_create(ullm_device *d, const ullm_binding *bindings, uint32_t n, void **out, uint64_t *sets) {
	VkDescriptorPoolSize size = {DESCRIPTOR_STORAGE_BUFFER, n * ULLM_BINDINGS};
	VkDescriptorPoolCreateInfo info = {.sType = ST_DESCRIPTOR_POOL_CREATE_INFO, .sets = n, .n = 1, .sizes = &size};
	VkDescriptorPool pool = 0;
	VkResult r = d->vkCreateDescriptorPool(d->device, &info, NULL, &pool);
	*out = POINTER(pool);
	for (uint32_t i = 0; r == 0 && i < n; i++) {
		VkDescriptorSetAllocateInfo allocate = {.sType = ST_DESCRIPTOR_SET_ALLOCATE_INFO, .pool = pool, .n = 1, .layouts = &d->set_layout};
		r = d->vkAllocateDescriptorSets(d->device, &allocate, &sets[i]);
		if (r != 0) break;
		VkDescriptorBufferInfo buffers[ULLM_BINDINGS];
		for (uint32_t j = 0; j < ULLM_BINDINGS; j++) {
			const ullm_binding *b = &bindings[i * ULLM_BINDINGS + j];
			buffers[j] = (VkDescriptorBufferInfo){b->buffer, b->offset, b->bytes};
		}
		VkWriteDescriptorSet write = {.sType = ST_WRITE_DESCRIPTOR_SET, .set = sets[i], .count = ULLM_BINDINGS, .type = DESCRIPTOR_STORAGE_BUFFER,
			.buffers = buffers};
		d->vkUpdateDescriptorSets(d->device, 1, &write, 0, NULL);
	}
	return r;
}

void ullm_sets_destroy(ullm_device *d, void *pool) {
	if (!abandoned(d)) d->vkDestroyDescriptorPool(d->device, HANDLE(pool), NULL);
}

int ullm_commands_create(ullm_device *d, ullm_commands *out) {
	// A pool for each, so that recording one needs no lock on another.
	memset(out, 0, sizeof *out);
	VkCommandPoolCreateInfo pool_info = {.sType = ST_COMMAND_POOL_CREATE_INFO, .family = d->family};
	VkCommandPool pool = 0;
	VkResult r = d->vkCreateCommandPool(d->device, &pool_info, NULL, &pool);
	if (r != 0) return r;
	out->pool = POINTER(pool);
	VkCommandBufferAllocateInfo allocate = {.sType = ST_COMMAND_BUFFER_ALLOCATE_INFO, .pool = pool, .count = 1};
	r = d->vkAllocateCommandBuffers(d->device, &allocate, &out->commands);
	VkFenceCreateInfo fence_info = {.sType = ST_FENCE_CREATE_INFO};
	VkFence fence = 0;
	if (r == 0) r = d->vkCreateFence(d->device, &fence_info, NULL, &fence);
	out->fence = POINTER(fence);
	if (r != 0) ullm_commands_destroy(d, out);
	return r;
}

void ullm_commands_destroy(ullm_device *d, ullm_commands *c) {
	if (abandoned(d)) return;
	d->vkDestroyFence(d->device, HANDLE(c->fence), NULL);
	d->vkDestroyCommandPool(d->device, HANDLE(c->pool), NULL); // and its buffer
	memset(c, 0, sizeof *c);
}

enum { STAGE_COMPUTE = 0x800, STAGE_TRANSFER = 0x1000, STAGE_HOST = 0x4000, STAGE_ALL = 0x10000 };
enum { SHADER_READ = 0x20, SHADER_WRITE = 0x40, TRANSFER_READ = 0x800, TRANSFER_WRITE = 0x1000, HOST_READ = 0x2000, MEMORY_READ = 0x8000, MEMORY_WRITE = 0x10000 };

static void barrier(ullm_device *d, VkCommandBuffer c, VkFlags from, VkFlags to, VkFlags writes, VkFlags reads) {
	VkMemoryBarrier b = {.sType = ST_MEMORY_BARRIER, .from = writes, .to = reads};
	d->vkCmdPipelineBarrier(c, from, to, 0, 1, &b, 0, NULL, 0, NULL);
}

static int begin(ullm_device *d, ullm_commands *c) {
	VkCommandBufferBeginInfo info = {.sType = ST_COMMAND_BUFFER_BEGIN_INFO};
	VkResult r = d->vkResetCommandPool(d->device, HANDLE(c->pool), 0);
	if (r == 0) r = d->vkBeginCommandBuffer(c->commands, &info);
	// What was submitted before, whatever it was, is done.
	if (r == 0)
		barrier(d, c->commands, STAGE_COMPUTE | STAGE_TRANSFER, STAGE_COMPUTE | STAGE_TRANSFER, SHADER_WRITE | TRANSFER_WRITE,
			SHADER_READ | SHADER_WRITE | TRANSFER_READ | TRANSFER_WRITE);
	return r;
}

static void copies(ullm_device *d, VkCommandBuffer c, const ullm_copy *list, uint32_t n) {
	for (uint32_t i = 0; i < n; i++) {
		const ullm_copy *l = &list[i];
		VkBufferCopy region = {l->from_offset, l->to_offset, l->bytes};
		if (l->from == 0) d->vkCmdFillBuffer(c, l->to, l->to_offset, l->bytes, 0);
		else d->vkCmdCopyBuffer(c, l->from, l->to, 1, &region);
	}
}

int ullm_record(ullm_device *d, ullm_commands *cs, const ullm_copy *in, uint32_t n_in, const ullm_launch *launches, uint32_t n,
	const ullm_copy *out, uint32_t n_out, void *stamps) {
	VkCommandBuffer c = cs->commands;
	VkResult r = begin(d, cs);
	if (r != 0) return r;
	if (stamps != NULL) {
		d->vkCmdResetQueryPool(c, HANDLE(stamps), 0, n + 1);
		d->vkCmdWriteTimestamp(c, 1, HANDLE(stamps), 0);
	}
	copies(d, c, in, n_in);
	if (n_in > 0) barrier(d, c, STAGE_TRANSFER, STAGE_COMPUTE | STAGE_TRANSFER, TRANSFER_WRITE, SHADER_READ | SHADER_WRITE | TRANSFER_READ);
	uint64_t bound = 0, set = 0;
	for (uint32_t i = 0; i < n; i++) {
		const ullm_launch *l = &launches[i];
		if (l->barrier) barrier(d, c, STAGE_COMPUTE, STAGE_COMPUTE, SHADER_WRITE, SHADER_READ | SHADER_WRITE);
		if (l->pipeline != bound) d->vkCmdBindPipeline(c, 1, l->pipeline);
		bound = l->pipeline;
		if (l->set != 0 && l->set != set) {
			set = l->set;
			d->vkCmdBindDescriptorSets(c, 1, d->layout, 0, 1, &set, 0, NULL);
		}
		d->vkCmdPushConstants(c, d->layout, 0x20, 0, sizeof l->push, l->push);
		d->vkCmdDispatch(c, l->groups[0], l->groups[1], l->groups[2]);
		if (stamps != NULL) d->vkCmdWriteTimestamp(c, STAGE_COMPUTE, HANDLE(stamps), i + 1);
	}
	if (n_out > 0 && n > 0) barrier(d, c, STAGE_COMPUTE, STAGE_TRANSFER, SHADER_WRITE, TRANSFER_READ);
	copies(d, c, out, n_out);
	barrier(d, c, STAGE_COMPUTE | STAGE_TRANSFER, STAGE_HOST, SHADER_WRITE | TRANSFER_WRITE, HOST_READ);
	return d->vkEndCommandBuffer(c);
}

int ullm_record_fill(ullm_device *d, ullm_commands *c, uint64_t buffer, uint64_t offset, uint64_t bytes, uint32_t word) {
	VkResult r = begin(d, c);
	if (r != 0) return r;
	d->vkCmdFillBuffer(c->commands, buffer, offset, bytes, word);
	return d->vkEndCommandBuffer(c->commands);
}

int ullm_submit(ullm_device *d, ullm_commands *c) {
	VkFence fence = HANDLE(c->fence);
	VkResult r = d->vkResetFences(d->device, 1, &fence);
	if (r != 0) return r;
	VkSubmitInfo info = {.sType = ST_SUBMIT_INFO, .n_commands = 1, .commands = &c->commands};
	return d->vkQueueSubmit(d->queue, 1, &info, fence);
}

int ullm_wait(ullm_device *d, ullm_commands *c, uint64_t ns) {
	VkFence fence = HANDLE(c->fence);
	return d->vkWaitForFences(d->device, 1, &fence, 1, ns);
}

int ullm_stamps_create(ullm_device *d, uint32_t n, void **pool) {
	VkQueryPoolCreateInfo info = {.sType = ST_QUERY_POOL_CREATE_INFO, .type = 2, .count = n};
	VkQueryPool p = 0;
	VkResult r = d->vkCreateQueryPool(d->device, &info, NULL, &p);
	*pool = POINTER(p);
	return r;
}

int ullm_stamps_read(ullm_device *d, void *pool, uint32_t n, uint64_t *out) {
	return d->vkGetQueryPoolResults(d->device, HANDLE(pool), 0, n, 8 * n, out, 8, 1 /* 64 bits */);
}

void ullm_stamps_destroy(ullm_device *d, void *pool) {
	if (!abandoned(d)) d->vkDestroyQueryPool(d->device, HANDLE(pool), NULL);
}
