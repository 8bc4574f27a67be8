// The part of Vulkan that the binding lacks or makes unsafe, in C: calls that take arrays of structs, structs newer than
// its headers, and the recording and submission of whole command buffers in one call.
//
// Handles are void pointers, as package vulkan has them on 64-bit machines.
#ifndef ULLM_VK_H
#define ULLM_VK_H

#include <stddef.h>
#include <stdint.h>

// loader

// ullm_loader_open opens the system's Vulkan loader and returns vkGetInstanceProcAddr; NULL where there is none.
void *ullm_loader_open(void);

// validation

typedef struct ullm_log ullm_log; // messages of the validation layers

ullm_log *ullm_log_new(void);
void ullm_log_free(ullm_log *l);
// ullm_log_chain is what the pNext of a VkInstanceCreateInfo points to so that the layers check best practices and
// synchronisation, and report to the log from the beginning.
const void *ullm_log_chain(ullm_log *l);
int ullm_log_start(void *get_proc, void *instance, ullm_log *l);
void ullm_log_stop(void *get_proc, void *instance, ullm_log *l);
// ullm_log_take copies the oldest message to text and forgets it; 0 where there is none.
int ullm_log_take(ullm_log *l, char *text, size_t size);

// physical device

typedef struct {
	uint32_t api_version, driver_version, vendor, device, type;
	char name[256];
	char driver[256], driver_info[256];
	uint8_t cache_uuid[16];
	uint32_t max_workgroup_invocations, max_workgroup_count_x, max_workgroup_count_y, max_shared_memory, max_push_constants;
	uint32_t max_storage_range;
	uint64_t max_allocation; // bytes of one memory object
	uint32_t max_allocations;
	float timestamp_period; // ns; 0: no timestamps
	uint32_t subgroup_size, min_subgroup_size, max_subgroup_size;
	uint32_t shuffle; // compute shaders may shuffle within subgroups
	uint64_t atom; // nonCoherentAtomSize
	// features, as 0 and 1
	uint32_t int64, buffer_address, storage16, storage8, float16, int8, subgroup_control, full_subgroups, memory_model, cooperative_matrix, integer_dot,
		integer_dot_fast, // of four packed signed bytes
		memory_budget, executable_properties;
	// cooperative matrices of a subgroup that multiply f16 and add to f32: D (m × n) = A (m × k) · B (k × n) + C
	uint32_t shapes;
	struct {
		uint32_t m, n, k;
	} shape[16];
	// memory
	uint32_t memory_types;
	uint32_t type_flags[32], type_heap[32];
	uint32_t heaps;
	uint64_t heap_size[16], heap_budget[16], heap_usage[16];
	uint32_t heap_flags[16];
	uint32_t queue_family; // UINT32_MAX: none computes
	uint32_t timestamp_bits;
} ullm_physical;

// ullm_physical_probe reads all that is known of a physical device.
void ullm_physical_probe(void *get_proc, void *instance, void *physical, ullm_physical *out);
// ullm_physical_budget refreshes heap_budget and heap_usage.
void ullm_physical_budget(void *get_proc, void *instance, void *physical, ullm_physical *out);

// device

typedef struct ullm_device ullm_device;

// ullm_device_create opens a device, with what cooperative matrices need if matrices is not 0.
int ullm_device_create(void *get_proc, void *instance, void *physical, const ullm_physical *p, int matrices, ullm_device **out);
void ullm_device_destroy(ullm_device *d);
int ullm_device_wait_idle(ullm_device *d);
// ullm_device_abandon makes all that destroys or frees do nothing: the device may be at work on it for ever.
void ullm_device_abandon(ullm_device *d);

// Memory of one type with one buffer over all of it. mapped is NULL where the type cannot be mapped.
typedef struct {
	void *memory, *buffer, *mapped;
	uint64_t address;
} ullm_memory;

int ullm_memory_create(ullm_device *d, uint64_t bytes, uint32_t type, int map, ullm_memory *out);
void ullm_memory_destroy(ullm_device *d, ullm_memory *m);

int ullm_cache_create(ullm_device *d, const void *data, size_t size, void **cache);
int ullm_cache_data(ullm_device *d, void *cache, void *data, size_t *size);
void ullm_cache_destroy(ullm_device *d, void *cache);

// ullm_pipeline_create specializes a shader. subgroup, where it is not 0, is how wide all subgroups have to be.
int ullm_pipeline_create(ullm_device *d, void *cache, const void *code, size_t size, const uint32_t *constants, uint32_t n, uint32_t subgroup,
	void **out);
void ullm_pipeline_destroy(ullm_device *d, void *pipeline);

// A command buffer with its pool and the fence of its submission.
typedef struct {
	void *pool, *commands, *fence;
} ullm_commands;

int ullm_commands_create(ullm_device *d, ullm_commands *out);
void ullm_commands_destroy(ullm_device *d, ullm_commands *c);

typedef struct {
	uint64_t from, to; // buffers; from 0: zeros
	uint64_t from_offset, to_offset, bytes;
} ullm_copy;

// A launch reads what is large through a descriptor set of storage buffers: unlike addresses, those let drivers take the
// widest loads without a check for each.
enum { ULLM_BINDINGS = 5 };

typedef struct {
	uint64_t buffer, offset, bytes;
} ullm_binding;

// ullm_sets_create makes n sets in one pool, of ULLM_BINDINGS bindings each.
int ullm_sets_create(ullm_device *d, const ullm_binding *bindings, uint32_t n, void **pool, uint64_t *sets);
void ullm_sets_destroy(ullm_device *d, void *pool);

typedef struct {
	uint64_t pipeline;
	uint64_t set; // 0: none
	uint32_t groups[3];
	uint32_t barrier; // wait for all launches before
	uint32_t push[32]; // all of them are set: that is what the layout says there is
} ullm_launch;

// ullm_record records: copies in, launches, copies out, with memory barriers between these and to what was submitted before
// and to the host. A stamp pool of n+1 queries gets a timestamp before the first launch and after each.
int ullm_record(ullm_device *d, ullm_commands *c, const ullm_copy *in, uint32_t n_in, const ullm_launch *launches, uint32_t n,
	const ullm_copy *out, uint32_t n_out, void *stamps);
// ullm_record_fill records filling part of a buffer with a word.
int ullm_record_fill(ullm_device *d, ullm_commands *c, uint64_t buffer, uint64_t offset, uint64_t bytes, uint32_t word);

// ullm_submit resets the fence and submits; calls must not overlap.
int ullm_submit(ullm_device *d, ullm_commands *c);
// ullm_wait waits for a submission: 0 done, 2 not within ns.
int ullm_wait(ullm_device *d, ullm_commands *c, uint64_t ns);

int ullm_stamps_create(ullm_device *d, uint32_t n, void **pool);
int ullm_stamps_read(ullm_device *d, void *pool, uint32_t n, uint64_t *out);
void ullm_stamps_destroy(ullm_device *d, void *pool);

#endif
