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

// batch_norm_moments: moves the running statistics towards the batch's mean and var; inv_std = 1/sqrt(var + eps).
// threads = C.
extern "C" __global__ void batch_norm_moments(const double* __restrict__ mean, const double* __restrict__ var,
                                              real* __restrict__ running_mean, real* __restrict__ running_var,
                                              real* __restrict__ batch_mean, real* __restrict__ inv_std, int threads,
                                              real momentum, real unbias, real eps) {
    int i = thread_index();
    if (i >= threads) return;
    running_mean[i] += momentum * (mean[i] - running_mean[i]);
    running_var[i] += momentum * (var[i] * unbias - running_var[i]);
    batch_mean[i] = mean[i];
    inv_std[i] = 1 / sqrt(var[i] + eps);
}
