// The pixels of a window along one axis that count: the window is cut at the image and the `counted` pixels around it.
__device__ int count_pixels(int o, int size, int K, int stride, int padding, int counted) {
    int start = stride * o - padding, end = start + K;
    return (end < size + counted ? end : size + counted) - (start > -counted ? start : -counted);
}

// avg_pool: y = the sum of the window / the number of its pixels that count; padding adds zeros. Of the padding,
// counted_h rows and counted_w columns on each side count. threads = N OH OW C.
extern "C" __global__ void avg_pool(const real* __restrict__ x, real* __restrict__ y, int threads, int H, int W,
                                    int C, int OH, int OW, int KH, int KW, int stride_h, int stride_w, int top,
                                    int left, int counted_h, int counted_w) {
    int i = thread_index();
    if (i >= threads) return;
    int c = i % C, ow = i / C % OW, oh = i / C / OW % OH, n = i / C / OW / OH;
    real sum = 0;
    for (int kh = 0; kh < KH; ++kh)
        for (int kw = 0; kw < KW; ++kw) {
            int h = stride_h * oh + kh - top, w = stride_w * ow + kw - left;
            if (h >= 0 && h < H && w >= 0 && w < W) sum += x[((n * H + h) * W + w) * C + c];
        }
    int rows = count_pixels(oh, H, KH, stride_h, top, counted_h);
    int columns = count_pixels(ow, W, KW, stride_w, left, counted_w);
    y[i] = sum * ((real)1 / (rows * columns));
}

// avg_pool_dx: a pixel gathers its share of every window that contains it. threads = N H W C.
extern "C" __global__ void avg_pool_dx(const real* __restrict__ dy, real* __restrict__ dx, int threads, int H, int W,
                                       int C, int OH, int OW, int KH, int KW, int stride_h, int stride_w, int top,
                                       int left, int counted_h, int counted_w) {
    int i = thread_index();
    if (i >= threads) return;
    int c = i % C, w = i / C % W, h = i / C / W % H, n = i / C / W / H;
    int highest = first_window(h, KH, stride_h, top), leftmost = first_window(w, KW, stride_w, left);
    real sum = 0;
    for (int oh = last_window(h, OH, stride_h, top); oh >= highest; --oh) {
        int rows = count_pixels(oh, H, KH, stride_h, top, counted_h);
        for (int ow = last_window(w, OW, stride_w, left); ow >= leftmost; --ow) {
            int columns = count_pixels(ow, W, KW, stride_w, left, counted_w);
            sum += dy[((n * OH + oh) * OW + ow) * C + c] * ((real)1 / (rows * columns));
        }
    }
    dx[i] = sum;
}
