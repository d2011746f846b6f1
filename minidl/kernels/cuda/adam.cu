// adam: one step of Adam in place. b1_rest = 1 - b1, b2_rest = 1 - b2; step and root as in the reference. threads = the
// size of w.
extern "C" __global__ void adam(const real* __restrict__ g, real* __restrict__ w, real* __restrict__ m,
                                real* __restrict__ v, int threads, real step, real b1, real b1_rest, real b2,
                                real b2_rest, real root, real eps, real decay) {
    int i = thread_index();
    if (i >= threads) return;
    real value = w[i], gradient = decay ? g[i] + value * decay : g[i];
    real first = m[i] * b1 + gradient * b1_rest, second = v[i] * b2 + gradient * gradient * b2_rest;
    m[i] = first;
    v[i] = second;
    w[i] = value - first / (sqrt(second) / root + eps) * step;
}
