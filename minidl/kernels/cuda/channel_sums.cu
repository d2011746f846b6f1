// Sums over all pixels of a channel, in one pass over memory and two launches. In the first, each block of rows of
// (M, C) makes one partial result per channel; in the second these are joined. Both use fixed orders, so the same input
// gives the same bits. A thread adds a few numbers as `real`. The results of many threads are joined in double, which
// takes few operations; a consumer GPU is slow at them.
//
// A block works on `width` <= 256 neighbouring channels. Its threads form 256 / width lanes: thread t serves channel
// t % width, and lane l takes every row l, l + lanes, ... of the block's rows. So a block reads contiguous memory.

// The sum of `value` over the lanes of each channel, valid in the threads of lane 0. All threads must call it.
__device__ double sum_over_lanes(double value, int width) {
    __shared__ double values[BLOCK];
    __syncthreads();  // the sum before this one has been read
    values[threadIdx.x] = value;
    __syncthreads();
    double sum = 0;
    int t = threadIdx.x;
    if (t < width)
        for (; t < BLOCK; t += width) sum += values[t];
    return sum;
}

// batch_norm_sums: partial[0] = sum dy (x - mean) inv_std and partial[1] = sum dy of the block's rows.
// partial (2, blocks, C); blockIdx.x names the block of rows, blockIdx.y the `width` channels.
extern "C" __global__ void batch_norm_partial_sums(const real* __restrict__ dy, const real* __restrict__ x,
                                                   const real* __restrict__ mean, const real* __restrict__ inv_std,
                                                   double* __restrict__ partial, int M, int C, int rows, int width) {
    int lanes = BLOCK / width, lane = threadIdx.x / width, c = blockIdx.y * width + threadIdx.x % width;
    bool active = lane < lanes && c < C;
    int start = blockIdx.x * rows, end = start + min(rows, M - start);
    real gamma_sum = 0, beta_sum = 0;
    if (active)
        for (int row = start + lane; row < end; row += lanes) {
            real d = dy[row * C + c];
            gamma_sum += d * ((x[row * C + c] - mean[c]) * inv_std[c]);
            beta_sum += d;
        }
    double dgamma = sum_over_lanes(gamma_sum, width), dbeta = sum_over_lanes(beta_sum, width);
    if (active && lane == 0) {
        partial[blockIdx.x * C + c] = dgamma;
        partial[(gridDim.x + blockIdx.x) * C + c] = dbeta;
    }
}

extern "C" __global__ void batch_norm_join_sums(const double* __restrict__ partial, real* __restrict__ dgamma,
                                                real* __restrict__ dbeta, int blocks, int C, int width) {
    int lanes = BLOCK / width, lane = threadIdx.x / width, c = blockIdx.x * width + threadIdx.x % width;
    bool active = lane < lanes && c < C;
    double gamma_sum = 0, beta_sum = 0;
    if (active)
        for (int b = lane; b < blocks; b += lanes) {
            gamma_sum += partial[b * C + c];
            beta_sum += partial[(blocks + b) * C + c];
        }
    gamma_sum = sum_over_lanes(gamma_sum, width);
    beta_sum = sum_over_lanes(beta_sum, width);
    if (active && lane == 0) {
        dgamma[c] = gamma_sum;
        dbeta[c] = beta_sum;
    }
}

// batch_statistics: the mean of the block's n rows, partial[0], and their squared deviations from it, partial[1].
// With d = x - origin, mean = origin + (sum d)/n and the squares are sum d^2 - (sum d)^2/n. The origin is the block's
// first row: however far from zero the values are, only their spread is squared, and no digits are lost.
extern "C" __global__ void batch_partial_statistics(const real* __restrict__ x, double* __restrict__ partial, int M,
                                                    int C, int rows, int width) {
    int lanes = BLOCK / width, lane = threadIdx.x / width, c = blockIdx.y * width + threadIdx.x % width;
    bool active = lane < lanes && c < C;
    int start = blockIdx.x * rows, n = min(rows, M - start), end = start + n;
    real origin = active ? x[start * C + c] : real(0), sum = 0, squares = 0;
    if (active)
        for (int row = start + lane; row < end; row += lanes) {
            real d = x[row * C + c] - origin;
            sum += d;
            squares += d * d;
        }
    double d_sum = sum_over_lanes(sum, width), d_squares = sum_over_lanes(squares, width);
    if (active && lane == 0) {
        partial[blockIdx.x * C + c] = origin + d_sum / n;
        partial[(gridDim.x + blockIdx.x) * C + c] = d_squares - d_sum * d_sum / n;
    }
}

// The origin is now the first block's mean. A block whose mean differs from it by d adds n d to the sum of deviations,
// and n d^2 plus its own squares to the sum of squares.
extern "C" __global__ void batch_join_statistics(const double* __restrict__ partial, double* __restrict__ mean,
                                                 double* __restrict__ var, int blocks, int M, int C, int rows,
                                                 int width) {
    int lanes = BLOCK / width, lane = threadIdx.x / width, c = blockIdx.x * width + threadIdx.x % width;
    bool active = lane < lanes && c < C;
    double origin = active ? partial[c] : 0, sum = 0, squares = 0;
    if (active)
        for (int b = lane; b < blocks; b += lanes) {
            double n = min(rows, M - b * rows), d = partial[b * C + c] - origin;
            sum += n * d;
            squares += partial[(blocks + b) * C + c] + n * d * d;
        }
    sum = sum_over_lanes(sum, width);
    squares = sum_over_lanes(squares, width);
    if (active && lane == 0) {
        mean[c] = origin + sum / M;
        var[c] = squares / M - (sum / M) * (sum / M);
    }
}
