// tanh_forward: y = tanh(x); the name tanh is the function's.
extern "C" __global__ void tanh_forward(const real* __restrict__ x, real* __restrict__ y, int threads) {
    int i = thread_index();
    if (i >= threads) return;
    y[i] = tanh(x[i]);
}

// tanh_dx: dx = dy (1 - y^2).
extern "C" __global__ void tanh_dx(const real* __restrict__ dy, const real* __restrict__ y, real* __restrict__ dx,
                                   int threads) {
    int i = thread_index();
    if (i >= threads) return;
    dx[i] = dy[i] * (1 - y[i] * y[i]);
}
