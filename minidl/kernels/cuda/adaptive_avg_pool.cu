// Bin i of an axis of `size` pixels runs from floor(i size / bins) to ceil((i + 1) size / bins).
__device__ int bin_start(int i, int size, int bins) { return i * size / bins; }
__device__ int bin_end(int i, int size, int bins) { return ((i + 1) * size + bins - 1) / bins; }

// The bins first..last contain pixel h.
__device__ int first_bin(int h, int size, int bins) { return h * bins / size; }
__device__ int last_bin(int h, int size, int bins) { return ((h + 1) * bins + size - 1) / size - 1; }

// adaptive_avg_pool: y = the mean of a bin. threads = N OH OW C.
extern "C" __global__ void adaptive_avg_pool(const real* __restrict__ x, real* __restrict__ y, int threads, int H,
                                             int W, int C, int OH, int OW) {
    int i = thread_index();
    if (i >= threads) return;
    int c = i % C, ow = i / C % OW, oh = i / C / OW % OH, n = i / C / OW / OH;
    int top = bin_start(oh, H, OH), bottom = bin_end(oh, H, OH);
    int left = bin_start(ow, W, OW), right = bin_end(ow, W, OW);
    real sum = 0;
    for (int h = top; h < bottom; ++h)
        for (int w = left; w < right; ++w) sum += x[((n * H + h) * W + w) * C + c];
    y[i] = sum / ((bottom - top) * (right - left));
}

// adaptive_avg_pool_dx: a pixel gathers its share of every bin that contains it. threads = N H W C.
extern "C" __global__ void adaptive_avg_pool_dx(const real* __restrict__ dy, real* __restrict__ dx, int threads, int H,
                                                int W, int C, int OH, int OW) {
    int i = thread_index();
    if (i >= threads) return;
    int c = i % C, w = i / C % W, h = i / C / W % H, n = i / C / W / H;
    real sum = 0;
    for (int oh = first_bin(h, H, OH); oh <= last_bin(h, H, OH); ++oh)
        for (int ow = first_bin(w, W, OW); ow <= last_bin(w, W, OW); ++ow) {
            int rows = bin_end(oh, H, OH) - bin_start(oh, H, OH), columns = bin_end(ow, W, OW) - bin_start(ow, W, OW);
            sum += dy[((n * OH + oh) * OW + ow) * C + c] / (rows * columns);
        }
    dx[i] = sum;
}
