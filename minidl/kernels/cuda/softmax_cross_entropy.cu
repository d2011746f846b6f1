// The sum, or the maximum, of `value` over a block, for all its threads. All of them must call it.
__device__ real over_block(real value, bool maximum) {
    __shared__ real values[BLOCK];
    int t = threadIdx.x;
    __syncthreads();  // the value before this one has been read
    values[t] = value;
    __syncthreads();
    for (int half = BLOCK / 2; half; half /= 2) {
        if (t < half) {
            real a = values[t], b = values[t + half];
            values[t] = !maximum ? a + b : b > a ? b : a;
        }
        __syncthreads();
    }
    return values[0];
}

// softmax_cross_entropy: one block per row of logits (N, K); losses (N,) are the rows' shares of the mean. The maximum
// ignores a NaN, but the sum of the exponentials becomes NaN. A label outside of [0, K) makes the loss NaN.
extern "C" __global__ void softmax_cross_entropy(const real* __restrict__ logits, const long long* __restrict__ labels,
                                                 real* __restrict__ losses, real* __restrict__ dlogits, int K,
                                                 real smoothing) {
    int N = gridDim.x, row = blockIdx.x * K;
    long long label = labels[blockIdx.x];
    real largest = __int_as_float(0xff800000);  // -inf
    for (int k = threadIdx.x; k < K; k += BLOCK)
        if (logits[row + k] > largest) largest = logits[row + k];
    largest = over_block(largest, true);
    real total = 0;
    for (int k = threadIdx.x; k < K; k += BLOCK) total += exp(logits[row + k] - largest);
    total = over_block(total, false);
    real own = 0, all = 0, log_total = log(total);
    for (int k = threadIdx.x; k < K; k += BLOCK) {
        real shifted = logits[row + k] - largest, log_p = shifted - log_total;
        if (k == label) own = log_p;
        all += log_p;
        real target = (k == label ? 1 - smoothing : 0) + smoothing / K;
        dlogits[row + k] = (exp(shifted) / total - target) / N;
    }
    own = over_block(own, false);
    if (label < 0 || label >= K) own = __int_as_float(0x7fffffff);  // NaN
    all = over_block(all, false);
    if (threadIdx.x == 0) losses[blockIdx.x] = ((smoothing - 1) * own - (smoothing ? smoothing / K * all : 0)) / N;
}
