// sigmoid: y = 1 / (1 + exp(-x)).
extern "C" __global__ void sigmoid(const real* __restrict__ x, real* __restrict__ y, int threads) {
    int i = thread_index();
    if (i >= threads) return;
    y[i] = 1 / (1 + exp(-x[i]));
}

// sigmoid_dx: dx = dy y (1 - y).
extern "C" __global__ void sigmoid_dx(const real* __restrict__ dy, const real* __restrict__ y, real* __restrict__ dx,
                                      int threads) {
    int i = thread_index();
    if (i >= threads) return;
    dx[i] = dy[i] * (y[i] * (1 - y[i]));
}
