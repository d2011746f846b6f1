// relu: y = max(x, 0) and the mask [x > 0]; a NaN stays a NaN.
extern "C" __global__ void relu(const real* __restrict__ x, real* __restrict__ y, bool* __restrict__ mask,
                                int threads) {
    int i = thread_index();
    if (i >= threads) return;
    real value = x[i];
    y[i] = value < 0 ? real(0) : value;
    mask[i] = value > 0;
}

// relu_dx: dx = dy [x > 0]. A product, as in the reference, so that a NaN in dy shows.
extern "C" __global__ void relu_dx(const real* __restrict__ dy, const bool* __restrict__ mask,
                                   real* __restrict__ dx, int threads) {
    int i = thread_index();
    if (i >= threads) return;
    dx[i] = dy[i] * real(mask[i]);
}
