// CUDA C as host C++17, so that g++ compiles the very same kernels and the CPU runs them.
//
// The threads of a block are fibers on one OS thread if the kernel has a barrier, turns of a loop if not. Under
// ThreadSanitizer every CUDA thread is a fiber that only a barrier orders, and every block an OS thread.
#pragma once
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#define __global__
#define __device__ static
#define __shared__ static thread_local  // one block per OS thread at a time

using std::exp;
using std::log;
using std::max;
using std::min;
using std::sqrt;
struct dim3 {
    unsigned x, y, z;
};
static dim3 gridDim, blockDim;
static thread_local dim3 blockIdx, threadIdx;
static inline float __int_as_float(unsigned bits) {
    float value;
    std::memcpy(&value, &bits, sizeof value);
    return value;
}

namespace shim {
using Launch = void (*)(void** arguments);

[[noreturn]] static void fail(const char* reason) {
    std::fprintf(stderr, "shim: %s\n", reason);
    std::abort();
}

#define UNSEEN __attribute__((no_sanitize_thread))  // the scheduler's own memory is no matter of the kernels'
#if defined(__SANITIZE_THREAD__) && !defined(COUNT_TRAFFIC)
#include <sanitizer/tsan_interface.h>
constexpr bool always_fibers = true;
#else
constexpr bool always_fibers = false;
static void* __tsan_get_current_fiber() { return nullptr; }
static void* __tsan_create_fiber(unsigned) { return nullptr; }
static void __tsan_destroy_fiber(void*) {}
static void __tsan_switch_to_fiber(void*, unsigned) {}
static void __tsan_acquire(void*) {}
static void __tsan_release(void*) {}
#endif
constexpr unsigned NO_SYNC = 1;  // __tsan_switch_to_fiber: a switch orders nothing
constexpr size_t STACK = 64 << 10;

struct Fiber {
    ucontext_t context;
    void* tsan;
    dim3 index;
    bool done;
};
static thread_local ucontext_t scheduler;
static thread_local void* scheduler_tsan;
static thread_local Fiber* current;  // null outside of a kernel with a barrier
static thread_local Launch kernel;
static thread_local void** kernel_arguments;
static thread_local unsigned round_number;

// What ThreadSanitizer knows a block by, until its launch ends: places that stand for its even barriers, its odd
// barriers and its end, and its threads. Were it given back when the block ends, a block that starts later would get the
// same places and threads, and no race between the two would be seen.
struct Identity {
    char barrier[2], end;
    std::vector<void*> threads;
};
static thread_local Identity* self;

UNSEEN static void leave(Fiber* fiber) {
    __tsan_switch_to_fiber(scheduler_tsan, NO_SYNC);
    swapcontext(&fiber->context, &scheduler);
}

UNSEEN static void enter() {
    kernel(kernel_arguments);
    __tsan_release(&self->end);
    current->done = true;
    leave(current);
}

UNSEEN static void barrier() {
    if (!current) fail("__syncthreads in a kernel that was taken to have none");
    char* at = &self->barrier[round_number % 2];
    __tsan_release(at);
    leave(current);
    __tsan_acquire(at);
}

UNSEEN static dim3 thread_at(unsigned i) {
    return {i % blockDim.x, i / blockDim.x % blockDim.y, i / blockDim.x / blockDim.y};
}

// Every round resumes all threads once, up to their next barrier or their end.
UNSEEN static void run_fibers(unsigned threads) {
    static thread_local std::vector<char> pool;
    pool.resize(threads * STACK);
    Fiber* fibers = static_cast<Fiber*>(std::calloc(threads, sizeof(Fiber)));
    scheduler_tsan = __tsan_get_current_fiber();
    for (unsigned i = 0; i < threads; ++i) {
        Fiber& fiber = fibers[i];
        fiber.index = thread_at(i);
        fiber.tsan = __tsan_create_fiber(0);
        self->threads.push_back(fiber.tsan);
        getcontext(&fiber.context);
        fiber.context.uc_stack.ss_sp = pool.data() + i * STACK;
        fiber.context.uc_stack.ss_size = STACK;
        makecontext(&fiber.context, enter, 0);
    }
    unsigned done = 0;
    for (round_number = 0; done < threads; ++round_number) {
        for (unsigned i = 0; i < threads; ++i) {
            current = &fibers[i];
            threadIdx = current->index;
            __tsan_switch_to_fiber(current->tsan, NO_SYNC);
            swapcontext(&scheduler, &current->context);
            done += current->done;
        }
        if (done && done < threads) fail("some threads of a block ended where others wait at __syncthreads");
    }
    __tsan_acquire(&self->end);  // the host sees what the threads wrote
    current = nullptr;
    std::free(fibers);
}

UNSEEN static void run_block(dim3 block, Identity* own, bool barriers, Launch launch, void** arguments) {
    blockIdx = block;
    self = own;
    kernel = launch;
    kernel_arguments = arguments;
    unsigned threads = blockDim.x * blockDim.y * blockDim.z;
    if (barriers || always_fibers) return run_fibers(threads);
    for (unsigned i = 0; i < threads; ++i) {
        threadIdx = thread_at(i);
        launch(arguments);
    }
}

UNSEEN static void run(const unsigned* g, const unsigned* b, bool barriers, Launch launch, void** arguments) {
    gridDim = {g[0], g[1], g[2]};
    blockDim = {b[0], b[1], b[2]};
    if (uint64_t(b[0]) * b[1] * b[2] > 1024 || b[2] > 64 || g[0] >= 1u << 31 || g[1] > 65535 || g[2] > 65535)
        fail("a launch beyond the limits of a GPU");
    if (!g[0] || !g[1] || !g[2] || !b[0] || !b[1] || !b[2]) fail("a launch of nothing, which CUDA refuses");
    std::vector<std::thread> blocks;
    std::vector<Identity> identities(size_t(g[0]) * g[1] * g[2]);
    Identity* own = identities.data();
    for (unsigned z = 0; z < g[2]; ++z)
        for (unsigned y = 0; y < g[1]; ++y)
            for (unsigned x = 0; x < g[0]; ++x, ++own) {
                if (always_fibers)
                    blocks.emplace_back(run_block, dim3{x, y, z}, own, barriers, launch, arguments);
                else
                    run_block({x, y, z}, own, barriers, launch, arguments);
            }
    for (std::thread& block : blocks) block.join();
    for (Identity& block : identities)
        for (void* thread : block.threads) __tsan_destroy_fiber(thread);
}
}  // namespace shim
#define __syncthreads shim::barrier
