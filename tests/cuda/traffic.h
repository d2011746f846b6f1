// Counts the memory that a kernel touches. g++ compiles it with -fsanitize=thread, which puts a call before every load
// and store; instead of ThreadSanitizer's library these functions answer. Registers and shared memory don't count.
//
// What a group of threads loads twice is loaded once: caches see to that within a group. `group` = 32 is a warp.
// Memory comes in sectors of 32 bytes.
struct Array {
    uintptr_t start;
    uint64_t bytes, item;
    uint64_t *last_sector[2], *last_number[2];  // the last group that loaded, and that stored each
    uint64_t sectors[2], numbers[2];            // how many were loaded, and stored
};
static Array arrays[32];
static unsigned array_count;
static uint64_t group_size;

UNSEEN static void note(uint64_t group, uint64_t* last, uint64_t from, uint64_t to, uint64_t& count) {
    for (uint64_t i = from; i <= to; ++i)
        if (last[i] != group) {
            last[i] = group;
            ++count;
        }
}

UNSEEN static void touch(void* address, unsigned size, bool store) {
    uint64_t thread = threadIdx.x + blockDim.x * (threadIdx.y + uint64_t(blockDim.y) * threadIdx.z);
    uint64_t block = blockIdx.x + gridDim.x * (blockIdx.y + uint64_t(gridDim.y) * blockIdx.z);
    uint64_t group = (block * blockDim.x * blockDim.y * blockDim.z + thread) / group_size + 1;
    for (Array* a = arrays; a < arrays + array_count; ++a) {
        uint64_t at = reinterpret_cast<uintptr_t>(address) - a->start;
        if (at >= a->bytes) continue;
        note(group, a->last_sector[store], at / 32, (at + size - 1) / 32, a->sectors[store]);
        note(group, a->last_number[store], at / a->item, (at + size - 1) / a->item, a->numbers[store]);
    }
}

extern "C" {
UNSEEN void count_start(unsigned count, void** starts, const uint64_t* bytes, const uint64_t* items, uint64_t group) {
    if (count > 32) shim::fail("a kernel with more than 32 arrays");
    array_count = count;
    group_size = group;
    for (unsigned i = 0; i < count; ++i) {
        arrays[i] = {reinterpret_cast<uintptr_t>(starts[i]), bytes[i], items[i], {}, {}, {}, {}};
        for (int store = 0; store < 2; ++store) {
            arrays[i].last_sector[store] = static_cast<uint64_t*>(std::calloc(bytes[i] / 32 + 1, sizeof(uint64_t)));
            arrays[i].last_number[store] = static_cast<uint64_t*>(std::calloc(bytes[i] / items[i] + 1, sizeof(uint64_t)));
        }
    }
}
UNSEEN void count_stop(uint64_t* sectors, uint64_t* numbers) {
    for (Array* a = arrays; a < arrays + array_count; ++a)
        for (int store = 0; store < 2; ++store) {
            *sectors++ = a->sectors[store];
            *numbers++ = a->numbers[store];
            std::free(a->last_sector[store]);
            std::free(a->last_number[store]);
        }
    array_count = 0;
}
void __tsan_init() {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit(void*) {}
void __tsan_read_range(void* p, unsigned long size) { touch(p, size, false); }
void __tsan_write_range(void* p, unsigned long size) { touch(p, size, true); }
#define COUNTED(size)                                                       \
    void __tsan_read##size(void* p) { touch(p, size, false); }              \
    void __tsan_write##size(void* p) { touch(p, size, true); }              \
    void __tsan_unaligned_read##size(void* p) { touch(p, size, false); }    \
    void __tsan_unaligned_write##size(void* p) { touch(p, size, true); }
COUNTED(1) COUNTED(2) COUNTED(4) COUNTED(8) COUNTED(16)
}
