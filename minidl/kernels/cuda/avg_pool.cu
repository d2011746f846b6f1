// avg_pool: y = share * the sum of the window, share = 1 / K^2; padding counts as zeros. threads = N OH OW C.
extern "C" __global__ void avg_pool(const real* __restrict__ x, real* __restrict__ y, int threads, int H, int W,
                                    int C, int OH, int OW, int K, int stride, int padding, real share) {
    int i = thread_index();
    if (i >= threads) return;
    int c = i % C, ow = i / C % OW, oh = i / C / OW % OH, n = i / C / OW / OH;
    real sum = 0;
    for (int kh = 0; kh < K; ++kh)
        for (int kw = 0; kw < K; ++kw) {
            int h = stride * oh + kh - padding, w = stride * ow + kw - padding;
            if (h >= 0 && h < H && w >= 0 && w < W) sum += x[((n * H + h) * W + w) * C + c];
        }
    y[i] = sum * share;
}

// avg_pool_dx: a pixel gathers its share of every window that contains it. threads = N H W C.
extern "C" __global__ void avg_pool_dx(const real* __restrict__ dy, real* __restrict__ dx, int threads, int H, int W,
                                       int C, int OH, int OW, int K, int stride, int padding, real share) {
    int i = thread_index();
    if (i >= threads) return;
    int c = i % C, w = i / C % W, h = i / C / W % H, n = i / C / W / H;
    int top = first_window(h, K, stride, padding), left = first_window(w, K, stride, padding);
    real sum = 0;
    for (int oh = last_window(h, OH, stride, padding); oh >= top; --oh)
        for (int ow = last_window(w, OW, stride, padding); ow >= left; --ow)
            sum += dy[((n * OH + oh) * OW + ow) * C + c] * share;
    dx[i] = sum;
}
