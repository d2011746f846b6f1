// leaky_relu: y = x where x > 0 and slope x elsewhere, and the mask [x > 0].
extern "C" __global__ void leaky_relu(const real* __restrict__ x, real* __restrict__ y, bool* __restrict__ mask,
                                      int threads, real slope) {
    int i = thread_index();
    if (i >= threads) return;
    real value = x[i];
    y[i] = value > 0 ? value : value * slope;
    mask[i] = value > 0;
}

// leaky_relu_dx: dx = dy where x > 0 and slope dy elsewhere.
extern "C" __global__ void leaky_relu_dx(const real* __restrict__ dy, const bool* __restrict__ mask,
                                         real* __restrict__ dx, int threads, real slope) {
    int i = thread_index();
    if (i >= threads) return;
    dx[i] = mask[i] ? dy[i] : dy[i] * slope;
}
