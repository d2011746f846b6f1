// silu: y = x s,  s = sigmoid(x).
extern "C" __global__ void silu(const real* __restrict__ x, real* __restrict__ y, int threads) {
    int i = thread_index();
    if (i >= threads) return;
    real s = 1 / (1 + exp(-x[i]));
    y[i] = x[i] * s;
}

// silu_dx: dx = dy s (1 + x (1 - s)).
extern "C" __global__ void silu_dx(const real* __restrict__ dy, const real* __restrict__ x, real* __restrict__ dx,
                                   int threads) {
    int i = thread_index();
    if (i >= threads) return;
    real s = 1 / (1 + exp(-x[i]));
    dx[i] = dy[i] * (s * (1 + x[i] * (1 - s)));
}
