// What every source starts from. `real` is float or double: minidl/kernels/cuda.py builds one module for each.
//
// Arrays are contiguous and channels last, (N, H, W, C). No array has more than 2^31 - 256 numbers, which the host
// checks, so an int can index all of them and the index of an idle thread in the last block can't wrap either.
#define BLOCK 256  // threads a block

// The number of this thread among all threads of the launch. Neighbours work on neighbouring channels.
__device__ int thread_index() { return blockIdx.x * blockDim.x + threadIdx.x; }

// Along one axis the windows o = first..last contain pixel h; it lies at offset h + padding - stride o in window o.
__device__ int first_window(int h, int kernel, int stride, int padding) {
    int before = h + padding - kernel;  // windows that start at or before this position end before h
    return before < 0 ? 0 : before / stride + 1;
}

__device__ int last_window(int h, int windows, int stride, int padding) {
    int last = (h + padding) / stride;
    return last < windows ? last : windows - 1;
}
