// max_pool: the maximum of every window and its offset kh KW + kw. The comparison is strict, so the first maximum
// wins; a NaN wins over all numbers and then stays; padding is never read. threads = N OH OW C.
extern "C" __global__ void max_pool(const real* __restrict__ x, real* __restrict__ y,
                                    unsigned char* __restrict__ index, int threads, int H, int W, int C, int OH,
                                    int OW, int KH, int KW, int stride_h, int stride_w, int top,
                                    int left) {
    int i = thread_index();
    if (i >= threads) return;
    int c = i % C, ow = i / C % OW, oh = i / C / OW % OH, n = i / C / OW / OH;
    real best = __int_as_float(0xff800000);  // -infinity, a name that NVRTC does not know
    int offset = 0;
    for (int kh = 0; kh < KH; ++kh)
        for (int kw = 0; kw < KW; ++kw) {
            int h = stride_h * oh + kh - top, w = stride_w * ow + kw - left;
            if (h < 0 || h >= H || w < 0 || w >= W) continue;
            real value = x[((n * H + h) * W + w) * C + c];
            if (value > best || (value != value && best == best)) {
                best = value;
                offset = kh * KW + kw;
            }
        }
    y[i] = best;
    index[i] = offset;
}

// max_pool_dx: a thread reads dy of all windows whose maximum its pixel is, in rising order of (oh, ow), and writes
// their sum (overlap 0, the gradient), the last (1) or the largest (2; a NaN is larger than all).
// threads = N H W C.
extern "C" __global__ void max_pool_dx(const real* __restrict__ dy, const unsigned char* __restrict__ index,
                                       real* __restrict__ dx, int threads, int H, int W, int C, int OH, int OW,
                                       int KH, int KW, int stride_h, int stride_w, int top, int left, int overlap) {
    int i = thread_index();
    if (i >= threads) return;
    int c = i % C, w = i / C % W, h = i / C / W % H, n = i / C / W / H;
    int lowest = last_window(h, OH, stride_h, top), rightmost = last_window(w, OW, stride_w, left);
    real joined = 0;
    bool touched = false;
    for (int oh = first_window(h, KH, stride_h, top); oh <= lowest; ++oh)
        for (int ow = first_window(w, KW, stride_w, left); ow <= rightmost; ++ow) {
            int o = ((n * OH + oh) * OW + ow) * C + c;
            if (index[o] != (h + top - stride_h * oh) * KW + w + left - stride_w * ow) continue;
            real value = dy[o];
            if (overlap == 0)
                joined += value;
            else if (overlap == 1 || !touched || value > joined || value != value)
                joined = value;
            touched = true;
        }
    dx[i] = joined;
}
