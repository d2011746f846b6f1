// batch_norm: y = (x - mean) (gamma inv_std) + beta, channel by channel. threads = the size of x.
extern "C" __global__ void batch_norm(const real* __restrict__ x, const real* __restrict__ mean,
                                      const real* __restrict__ inv_std, const real* __restrict__ gamma,
                                      const real* __restrict__ beta, real* __restrict__ y, int threads, int C) {
    int i = thread_index();
    if (i >= threads) return;
    int c = i % C;
    y[i] = (x[i] - mean[c]) * (gamma[c] * inv_std[c]) + beta[c];
}

// batch_norm_dx: dx = gamma inv_std (dy - dbeta/M - xhat dgamma/M), per_pixel = 1/M. threads = the size of x.
extern "C" __global__ void batch_norm_dx(const real* __restrict__ dy, const real* __restrict__ x,
                                         const real* __restrict__ mean, const real* __restrict__ inv_std,
                                         const real* __restrict__ gamma, const real* __restrict__ dgamma,
                                         const real* __restrict__ dbeta, real* __restrict__ dx, int threads, int C,
                                         real per_pixel) {
    int i = thread_index();
    if (i >= threads) return;
    int c = i % C;
    real xhat = (x[i] - mean[c]) * inv_std[c];
    dx[i] = (dy[i] - dbeta[c] * per_pixel - xhat * (dgamma[c] * per_pixel)) * (gamma[c] * inv_std[c]);
}
