// im2col: all KH x KW patches of x as the rows of a matrix, (N OH OW, KH KW C).
//
// One line of a patch, KW pixels of C channels, is a run of KW C numbers both in x and in patches. A thread copies
// number j of all KH runs of patch p: three divisions serve KH numbers. threads = N OH OW KW C.
extern "C" __global__ void im2col(const real* __restrict__ x, real* __restrict__ patches, int threads, int H, int W,
                                  int C, int OH, int OW, int KH, int KW, int stride, int padding) {
    int i = thread_index();
    if (i >= threads) return;
    int run = KW * C, j = i % run, p = i / run;
    int ow = p % OW, oh = p / OW % OH, n = p / OW / OH;
    int column = (stride * ow - padding) * C + j;  // in a line of x, W C numbers long
    bool inside = column >= 0 && column < W * C;
    for (int kh = 0; kh < KH; ++kh) {
        int h = stride * oh + kh - padding;
        patches[(p * KH + kh) * run + j] = inside && h >= 0 && h < H ? x[(n * H + h) * W * C + column] : real(0);
    }
}

// col2im: its transpose. A thread adds up all copies of its pixel, so no two threads add to the same number, and the
// sum has a fixed order, that of rising (kh, kw). threads = N H W C.
extern "C" __global__ void col2im(const real* __restrict__ dpatches, real* __restrict__ dx, int threads, int H, int W,
                                  int C, int OH, int OW, int KH, int KW, int stride, int padding) {
    int i = thread_index();
    if (i >= threads) return;
    int c = i % C, w = i / C % W, h = i / C / W % H, n = i / C / W / H;
    int top = first_window(h, KH, stride, padding), left = first_window(w, KW, stride, padding);
    real sum = 0;
    for (int oh = last_window(h, OH, stride, padding); oh >= top; --oh)
        for (int ow = last_window(w, OW, stride, padding); ow >= left; --ow) {
            int kh = h + padding - stride * oh, kw = w + padding - stride * ow;
            sum += dpatches[(((n * OH + oh) * OW + ow) * KH + kh) * KW * C + kw * C + c];
        }
    dx[i] = sum;
}
