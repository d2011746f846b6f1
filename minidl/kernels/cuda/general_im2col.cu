// general_im2col: the patches of windows with any stride and dilation, group by group, (G, P, KH KW C) with C channels
// in a group and P = N OH OW. threads = G P KH KW C.
extern "C" __global__ void general_im2col(const real* __restrict__ x, real* __restrict__ patches, int threads, int H,
                                          int W, int C, int OH, int OW, int KH, int KW, int stride_h, int stride_w,
                                          int top, int left, int dilation_h, int dilation_w, int G, int P) {
    int i = thread_index();
    if (i >= threads) return;
    int c = i % C, kw = i / C % KW, kh = i / C / KW % KH, p = i / C / KW / KH % P, g = i / C / KW / KH / P;
    int ow = p % OW, oh = p / OW % OH, n = p / OW / OH;
    int h = stride_h * oh + dilation_h * kh - top, w = stride_w * ow + dilation_w * kw - left;
    bool inside = h >= 0 && h < H && w >= 0 && w < W;
    patches[i] = inside ? x[(((n * H + h) * W + w) * G + g) * C + c] : 0;
}

// general_col2im: dx from dpatches (G, P, KH KW C). A pixel adds its copies up, in the order of their offsets.
// threads = N H W G C.
extern "C" __global__ void general_col2im(const real* __restrict__ dpatches, real* __restrict__ dx, int threads, int H,
                                          int W, int C, int OH, int OW, int KH, int KW, int stride_h, int stride_w,
                                          int top, int left, int dilation_h, int dilation_w, int G, int P) {
    int i = thread_index();
    if (i >= threads) return;
    int c = i % C, g = i / C % G, w = i / C / G % W, h = i / C / G / W % H, n = i / C / G / W / H;
    real sum = 0;
    for (int kh = 0; kh < KH; ++kh) {
        int y = h + top - dilation_h * kh;  // the window's first line, counted from the padding's
        if (y < 0 || y % stride_h || y / stride_h >= OH) continue;
        for (int kw = 0; kw < KW; ++kw) {
            int x = w + left - dilation_w * kw;
            if (x < 0 || x % stride_w || x / stride_w >= OW) continue;
            int p = (n * OH + y / stride_h) * OW + x / stride_w;
            sum += dpatches[(((g * P + p) * KH + kh) * KW + kw) * C + c];
        }
    }
    dx[i] = sum;
}
