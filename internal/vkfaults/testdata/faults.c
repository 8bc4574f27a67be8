// A Vulkan layer for tests: it counts the calls that may fail, and fails one of them, or loses the device for good.
// It serves one device at a time. The file that ULLM_VKFAULTS names is shared with the test.
#include "layer.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

// control is what test and layer share.
typedef struct {
	uint32_t calls; // that could have been failed so far
	uint32_t nth;   // the one to fail, from 1; 0: none
	int32_t result; // with this
	uint32_t lost;  // the device is lost by it: its queue answers nothing else any more
	char hit[64];   // the function that was failed
} control;

static control none, *shared = &none;

static void attached(void) {
	const char *path = getenv("ULLM_VKFAULTS");
	int file = path == NULL ? -1 : open(path, O_RDWR);
	if (file < 0) return;
	void *p = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	close(file);
	if (p != MAP_FAILED) shared = p;
}

#define ERROR_DEVICE_LOST (-4)

static VkDevice device;
static VkResult(VKAPI *wait_idle)(VkDevice);
static pthread_mutex_t queue = PTHREAD_MUTEX_INITIALIZER; // of the calls that use it

enum kind { OTHER, WAITS, QUEUE }; // a call that has nothing to do with the queue, waits for it, or uses it

// fails counts a call and tells whether it is to fail, with *r. Only calls that wait for the queue or hand it something
// lose a device. A lost device works no more: what the driver still has goes to its end before a call says that the device
// is lost, so that nothing is destroyed under the driver's hands.
static int fails(const char *name, enum kind kind, VkResult *r) {
	if (shared->result == ERROR_DEVICE_LOST && kind == OTHER) return 0;
	if (!shared->lost) {
		if (__atomic_add_fetch(&shared->calls, 1, __ATOMIC_SEQ_CST) != shared->nth) return 0;
		strncpy(shared->hit, name, sizeof shared->hit - 1);
		shared->lost = shared->result == ERROR_DEVICE_LOST;
	}
	if (shared->lost) {
		pthread_mutex_lock(&queue);
		wait_idle(device);
		pthread_mutex_unlock(&queue);
	}
	*r = shared->result;
	return 1;
}

// The functions that may fail, with their parameters and the arguments to pass on.
#define FUNCTIONS(F)                                                                                                                                  \
	F(vkAllocateMemory, (VkDevice d, const void *a, const void *b, void *c), (d, a, b, c), OTHER)                                                        \
	F(vkCreateBuffer, (VkDevice d, const void *a, const void *b, void *c), (d, a, b, c), OTHER)                                                          \
	F(vkBindBufferMemory, (VkDevice d, uint64_t a, uint64_t b, uint64_t c), (d, a, b, c), OTHER)                                                         \
	F(vkMapMemory, (VkDevice d, uint64_t m, uint64_t a, uint64_t b, VkFlags f, void **p), (d, m, a, b, f, p), OTHER)                                     \
	F(vkCreatePipelineCache, (VkDevice d, const void *a, const void *b, void *c), (d, a, b, c), OTHER)                                                   \
	F(vkGetPipelineCacheData, (VkDevice d, uint64_t a, size_t *n, void *p), (d, a, n, p), OTHER)                                                         \
	F(vkCreateShaderModule, (VkDevice d, const void *a, const void *b, void *c), (d, a, b, c), OTHER)                                                    \
	F(vkCreatePipelineLayout, (VkDevice d, const void *a, const void *b, void *c), (d, a, b, c), OTHER)                                                  \
	F(vkCreateDescriptorSetLayout, (VkDevice d, const void *a, const void *b, void *c), (d, a, b, c), OTHER)                                             \
	F(vkCreateDescriptorPool, (VkDevice d, const void *a, const void *b, void *c), (d, a, b, c), OTHER)                                                  \
	F(vkAllocateDescriptorSets, (VkDevice d, const void *a, void *b), (d, a, b), OTHER)                                                                  \
	F(vkCreateComputePipelines, (VkDevice d, uint64_t a, uint32_t n, const void *i, const void *b, uint64_t *out), (d, a, n, i, b, out), OTHER)          \
	F(vkCreateCommandPool, (VkDevice d, const void *a, const void *b, void *c), (d, a, b, c), OTHER)                                                     \
	F(vkResetCommandPool, (VkDevice d, uint64_t a, VkFlags f), (d, a, f), OTHER)                                                                         \
	F(vkAllocateCommandBuffers, (VkDevice d, const void *a, void *b), (d, a, b), OTHER)                                                                  \
	F(vkBeginCommandBuffer, (VkCommandBuffer d, const void *a), (d, a), OTHER)                                                                           \
	F(vkEndCommandBuffer, (VkCommandBuffer d), (d), OTHER)                                                                                               \
	F(vkCreateFence, (VkDevice d, const void *a, const void *b, void *c), (d, a, b, c), OTHER)                                                           \
	F(vkResetFences, (VkDevice d, uint32_t n, const void *a), (d, n, a), OTHER)                                                                          \
	F(vkCreateQueryPool, (VkDevice d, const void *a, const void *b, void *c), (d, a, b, c), OTHER)                                                       \
	F(vkGetQueryPoolResults, (VkDevice d, uint64_t q, uint32_t a, uint32_t n, size_t s, void *p, uint64_t w, VkFlags f), (d, q, a, n, s, p, w, f), OTHER) \
	F(vkQueueSubmit, (VkQueue d, uint32_t n, const void *a, uint64_t f), (d, n, a, f), QUEUE)                                                            \
	F(vkWaitForFences, (VkDevice d, uint32_t n, const void *a, VkBool32 all, uint64_t t), (d, n, a, all, t), WAITS)                                      \
	F(vkDeviceWaitIdle, (VkDevice d), (d), QUEUE)

#define F(name, parameters, arguments, kind)       \
	static VkResult(VKAPI *next_##name) parameters;     \
	static VkResult VKAPI faulty_##name parameters {    \
		VkResult r;                                     \
		if (fails(#name, kind, &r)) return r;           \
		if (kind == QUEUE) pthread_mutex_lock(&queue);  \
		r = next_##name arguments;                      \
		if (kind == QUEUE) pthread_mutex_unlock(&queue); \
		return r;                                       \
	}
FUNCTIONS(F)
#undef F

static VkResult VKAPI create_device(VkPhysicalDevice physical, const VkDeviceCreateInfo *info, const void *allocator, VkDevice *out) {
	CreateDevice create = enter_device(info);
	VkResult r = -3;
	if (create == NULL || fails("vkCreateDevice", OTHER, &r)) return r;
	r = create(physical, info, allocator, out);
	if (r != 0) return r;
	device = *out;
#define F(name, parameters, arguments, kind) next_##name = (VkResult(VKAPI *) parameters)next_device(device, #name);
	FUNCTIONS(F)
#undef F
	wait_idle = next_vkDeviceWaitIdle;
	return 0;
}

static VoidFunction VKAPI get_device(VkDevice d, const char *name) {
#define F(f, parameters, arguments, kind) \
	if (strcmp(name, #f) == 0) return (VoidFunction)faulty_##f;
	FUNCTIONS(F)
#undef F
	return next_device(d, name);
}

static VoidFunction of_instance(const char *name) {
	(void)name;
	return NULL;
}
