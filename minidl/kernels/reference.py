"""The reference kernels: the shortest correct form of every array operation that a layer needs.

This file is the oracle: every faster kernel is tested against it. It is also the textbook. The code takes its
functions from `xp`, so it works on NumPy and on CuPy arrays.

Convolution as a matrix product. Every output pixel looks at one KH x KW x C patch of the input. `im2col` copies
each patch into a row of a matrix `patches`: P = N OH OW rows of K = KH KW C numbers. With w as a K x F matrix,

    y[p,f] = sum over k of  patches[p,k] w[k,f]              y = patches @ w            (P, K) @ (K, F)

The chain rule gives the backward pass. w[k,f] stands in y[p,f] for every p, with the factor patches[p,k];
patches[p,k] stands in y[p,f] for every f, with the factor w[k,f]:

    dw[k,f]       = sum over p of  patches[p,k] dy[p,f]      dw       = patches.T @ dy  (K, P) @ (P, F)
    dpatches[p,k] = sum over f of  dy[p,f] w[k,f]            dpatches = dy @ w.T        (P, F) @ (F, K)

`col2im` carries dpatches back to dx. A pixel was copied into every patch that contains it, so it receives the sum
of the gradients of its copies. In matrix terms, im2col multiplies x by a matrix of zeros and ones, and col2im
multiplies by its transpose. An example: a 3x3 window with stride 1 and no padding has nine positions on a 5x5
image. The centre pixel lies in all nine patches and receives a sum of nine numbers; a corner lies in one.
"""

from __future__ import annotations

from minidl.backend.arrays import Array, array_module
from minidl.kernels.shapes import window_positions

Shape = tuple[int, ...]


# ------------------------------------------------------------------ windows


def pad2d(x: Array, padding: int, value: float = 0.0) -> Array:
    """`x` (N, H, W, C) with `padding` rows and columns of `value` on every side, always a new array.

    The result is (N, H + 2 padding, W + 2 padding, C).
    """
    xp = array_module(x)
    n, h, w, c = x.shape
    padded = xp.full((n, h + 2 * padding, w + 2 * padding, c), value, dtype=x.dtype)
    padded[:, padding : padding + h, padding : padding + w] = x
    return padded


def unpad2d(padded: Array, padding: int) -> Array:
    """`padded` without its border: the transpose of zero padding."""
    _, h, w, _ = padded.shape
    return padded[:, padding : h - padding, padding : w - padding]


def offsets(kernel: tuple[int, int], stride: int, out: tuple[int, int]):
    """Yields (k, rows, columns) for every pixel (kh, kw) of the window, in reading order; k = kh KW + kw.

    `rows` and `columns` are slices of the padded input: they select this one pixel in all OH x OW windows.
    """
    (kh_, kw_), (oh, ow) = kernel, out
    for kh in range(kh_):
        for kw in range(kw_):
            yield kh * kw_ + kw, slice(kh, kh + stride * oh, stride), slice(kw, kw + stride * ow, stride)


def out_size(x_shape: Shape, kernel: tuple[int, int], stride: int, padding: int) -> tuple[int, int]:
    """(OH, OW): how many windows fit on the padded input, downwards and to the right."""
    return (
        window_positions(x_shape[1], kernel[0], stride, padding),
        window_positions(x_shape[2], kernel[1], stride, padding),
    )


def im2col(x: Array, kernel: tuple[int, int], stride: int, padding: int) -> Array:
    """All patches of `x` (N, H, W, C) as rows: (N OH OW, KH KW C).

    Row (n OH + oh) OW + ow is window (oh, ow) of image n; column (kh KW + kw) C + c is its pixel (kh, kw), channel c.
    """
    xp = array_module(x)
    n, _, _, c = x.shape
    oh, ow = out_size(x.shape, kernel, stride, padding)
    padded = pad2d(x, padding)
    patches = xp.empty((n, oh, ow, kernel[0] * kernel[1], c), dtype=x.dtype)
    for k, rows, columns in offsets(kernel, stride, (oh, ow)):
        patches[:, :, :, k] = padded[:, rows, columns]
    return patches.reshape(n * oh * ow, -1)  # (N, OH, OW, KH KW, C) -> (P, K)


def col2im(dpatches: Array, x_shape: Shape, kernel: tuple[int, int], stride: int, padding: int) -> Array:
    """dx (N, H, W, C) from dpatches (N OH OW, KH KW C): every pixel receives the sum over its copies."""
    xp = array_module(dpatches)
    n, h, w, c = x_shape
    oh, ow = out_size(x_shape, kernel, stride, padding)
    dpatches = dpatches.reshape(n, oh, ow, kernel[0] * kernel[1], c)  # (P, K) -> (N, OH, OW, KH KW, C)
    dpadded = xp.zeros((n, h + 2 * padding, w + 2 * padding, c), dtype=dpatches.dtype)
    for k, rows, columns in offsets(kernel, stride, (oh, ow)):
        dpadded[:, rows, columns] += dpatches[:, :, :, k]
    return unpad2d(dpadded, padding)


# -------------------------------------------------------------- convolution


def conv2d(x: Array, w: Array, stride: int, padding: int) -> Array:
    """y[n,oh,ow,f] = sum over kh,kw,c of x[n, s oh + kh - p, s ow + kw - p, c] w[kh,kw,c,f].

    x (N, H, W, C), w (KH, KW, C, F) -> y (N, OH, OW, F).
    """
    kh, kw, _, f = w.shape
    oh, ow = out_size(x.shape, (kh, kw), stride, padding)
    patches = im2col(x, (kh, kw), stride, padding)
    y = patches @ w.reshape(-1, f)  # (P, K) @ (K, F)
    return y.reshape(-1, oh, ow, f)  # (P, F) -> (N, OH, OW, F)


def conv2d_dw(x: Array, dy: Array, w_shape: Shape, stride: int, padding: int) -> Array:
    """dw[kh,kw,c,f] = sum over n,oh,ow of x[n, s oh + kh - p, s ow + kw - p, c] dy[n,oh,ow,f].

    With the matrix of patches: dw = patches.T @ dy. x (N, H, W, C), dy (N, OH, OW, F) -> dw (KH, KW, C, F).
    """
    kh, kw, _, f = w_shape
    patches = im2col(x, (kh, kw), stride, padding)
    dw = patches.T @ dy.reshape(-1, f)  # (K, P) @ (P, F)
    return dw.reshape(w_shape)  # (K, F) -> (KH, KW, C, F)


def conv2d_dx(dy: Array, w: Array, x_shape: Shape, stride: int, padding: int) -> Array:
    """dx[n,h,w,c] = sum over all oh,kh with s oh + kh - p = h, all ow,kw with s ow + kw - p = w, and all f of
    dy[n,oh,ow,f] w[kh,kw,c,f].

    With the matrix of patches: dx = col2im(dy @ w.T). dy (N, OH, OW, F), w (KH, KW, C, F) -> dx (N, H, W, C).
    """
    kh, kw, _, f = w.shape
    dpatches = dy.reshape(-1, f) @ w.reshape(-1, f).T  # (P, F) @ (F, K)
    return col2im(dpatches, x_shape, (kh, kw), stride, padding)


# ------------------------------------------------------------------ pooling


def max_pool(x: Array, kernel: int, stride: int, padding: int) -> tuple[Array, Array]:
    """y[n,oh,ow,c] = max over the window, and where in its window the maximum lies: kh KW + kw, as uint8.

    Of equal values the first in reading order counts as the maximum. A NaN counts as larger than every number; of
    several NaNs the first counts. Padding is -inf, so it is never the maximum.
    """
    xp = array_module(x)
    window = (kernel, kernel)
    oh, ow = out_size(x.shape, window, stride, padding)
    padded = pad2d(x, padding, -xp.inf)
    y = padded[:, 0 : stride * oh : stride, 0 : stride * ow : stride].copy()
    index = xp.zeros(y.shape, dtype=xp.uint8)
    for k, rows, columns in offsets(window, stride, (oh, ow)):
        candidate = padded[:, rows, columns]
        wins = (candidate > y) | (xp.isnan(candidate) & ~xp.isnan(y))
        y = xp.where(wins, candidate, y)
        index = xp.where(wins, xp.uint8(k), index)
    return y, index


def max_pool_dx(
    dy: Array, index: Array, x_shape: Shape, kernel: int, stride: int, padding: int, overlap: str = "sum"
) -> Array:
    """dx[h,w] = sum of dy over the windows whose maximum lies at (h, w).

    Overlapping windows may share their maximum. `overlap` says what that pixel receives: the "sum" of their dy,
    which is the gradient, or, for the deconvnet's unpooling, the dy of the "last" window (the one with the highest
    (oh, ow)), or the "max" (the largest signed value).
    """
    xp = array_module(dy)
    n, h, w, c = x_shape
    dpadded = xp.zeros((n, h + 2 * padding, w + 2 * padding, c), dtype=dy.dtype)
    touched = xp.zeros(dpadded.shape, dtype=bool)
    # For one pixel, a smaller offset within the window means a window further down and to the right. So offsets in
    # falling order visit the pixel's windows in rising order of (oh, ow).
    for k, rows, columns in reversed(list(offsets((kernel, kernel), stride, dy.shape[1:3]))):
        hit = index == k
        old = dpadded[:, rows, columns]
        if overlap == "sum":
            new = old + dy
        elif overlap == "last":
            new = dy
        else:
            new = xp.where(touched[:, rows, columns], xp.maximum(old, dy), dy)
        dpadded[:, rows, columns] = xp.where(hit, new, old)
        touched[:, rows, columns] |= hit
    return unpad2d(dpadded, padding)


def avg_pool(x: Array, kernel: int, stride: int, padding: int) -> Array:
    """y[n,oh,ow,c] = (1 / kernel^2) sum over the window; padding counts as pixels with value 0."""
    oh, ow = out_size(x.shape, (kernel, kernel), stride, padding)
    padded = pad2d(x, padding)
    total = 0
    for _, rows, columns in offsets((kernel, kernel), stride, (oh, ow)):
        total = total + padded[:, rows, columns]
    return total * (1 / kernel**2)


def avg_pool_dx(dy: Array, x_shape: Shape, kernel: int, stride: int, padding: int) -> Array:
    """dx[h,w] = (1 / kernel^2) sum of dy over the windows that contain (h, w)."""
    xp = array_module(dy)
    n, h, w, c = x_shape
    dpadded = xp.zeros((n, h + 2 * padding, w + 2 * padding, c), dtype=dy.dtype)
    for _, rows, columns in offsets((kernel, kernel), stride, dy.shape[1:3]):
        dpadded[:, rows, columns] += dy * (1 / kernel**2)
    return unpad2d(dpadded, padding)


# ------------------------------------------------------ batch normalization


def batch_statistics(x: Array) -> tuple[Array, Array]:
    """Mean and biased variance of every channel over all other axes. x (..., C) -> two (C,) float64.

    mean = (1/M) sum x,  var = (1/M) sum (x - mean)^2:  two passes over x, and sums in float64. The one-pass form
    E[x^2] - mean^2 subtracts two large numbers, and loses its digits if |mean| is much larger than the standard
    deviation.
    """
    xp = array_module(x)
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axis=axes, dtype=xp.float64)
    var = ((x - mean) ** 2).mean(axis=axes)
    return mean, var


def batch_norm_moments(
    mean: Array, var: Array, running_mean: Array, running_var: Array, momentum: float, unbias: float, eps: float
) -> tuple[Array, Array]:
    """Updates the running statistics in place (`move_running`) and returns the batch's (mean, inv_std), both (C,).

    inv_std = 1 / sqrt(var + eps).  mean and var are (C,) float64, as `batch_statistics` returns them; the result has
    the dtype of the running statistics.
    """
    dtype = running_mean.dtype
    move_running(mean, var, running_mean, running_var, momentum, unbias)
    return mean.astype(dtype), (1 / array_module(var).sqrt(var + eps)).astype(dtype)


def move_running(
    mean: Array, var: Array, running_mean: Array, running_var: Array, momentum: float, unbias: float
) -> None:
    """running <- running + momentum (batch - running), in place; all arrays (C,).

    The batch's variance is multiplied by unbias = M/(M-1) first.
    """
    running_mean += (momentum * (mean - running_mean)).astype(running_mean.dtype)
    running_var += (momentum * (var * unbias - running_var)).astype(running_var.dtype)


def batch_norm(x: Array, mean: Array, inv_std: Array, gamma: Array, beta: Array) -> Array:
    """y = gamma (x - mean) inv_std + beta, channel by channel."""
    return (x - mean) * (gamma * inv_std) + beta


def batch_norm_sums(dy: Array, x: Array, mean: Array, inv_std: Array) -> tuple[Array, Array]:
    """dgamma = sum dy xhat and dbeta = sum dy, with xhat = (x - mean) inv_std."""
    axes = tuple(range(x.ndim - 1))
    return (dy * ((x - mean) * inv_std)).sum(axis=axes), dy.sum(axis=axes)


def batch_norm_dx(
    dy: Array, x: Array, mean: Array, inv_std: Array, gamma: Array, dgamma: Array, dbeta: Array
) -> Array:
    """dx = gamma inv_std (dy - dbeta/M - xhat dgamma/M), where mean and var are those of the batch.

    `minidl/layers/norm.py` derives it.
    """
    m = x.size // x.shape[-1]
    xhat = (x - mean) * inv_std
    return (dy - dbeta * (1 / m) - xhat * (dgamma * (1 / m))) * (gamma * inv_std)


# --------------------------------------------------------------- activation


def relu(x: Array) -> tuple[Array, Array]:
    """y = max(x, 0), and the mask [x > 0]. A NaN stays a NaN."""
    xp = array_module(x)
    return xp.maximum(x, 0), x > 0


def relu_dx(dy: Array, mask: Array) -> Array:
    """dx = dy [x > 0]; `mask` is the [x > 0] that `relu` returned."""
    return dy * mask


def leaky_relu(x: Array, slope: float) -> tuple[Array, Array]:
    """y = x where x > 0 and slope x elsewhere, and the mask [x > 0]."""
    xp = array_module(x)
    return xp.where(x > 0, x, x * slope), x > 0


def leaky_relu_dx(dy: Array, mask: Array, slope: float) -> Array:
    """dx = dy where x > 0 and slope dy elsewhere; `mask` is the [x > 0] that `leaky_relu` returned."""
    xp = array_module(dy)
    return xp.where(mask, dy, dy * slope)


def silu(x: Array) -> Array:
    """y = x sigmoid(x)."""
    return x * sigmoid(x)


def silu_dx(dy: Array, x: Array) -> Array:
    """dx = dy s (1 + x (1 - s)),  s = sigmoid(x)."""
    s = sigmoid(x)
    return dy * (s * (1 + x * (1 - s)))


def sigmoid(x: Array) -> Array:
    """1 / (1 + exp(-x)), and where x < 0 the same as exp(x) / (1 + exp(x)): no exponential becomes too large."""
    xp = array_module(x)
    return xp.exp(xp.minimum(x, 0)) / (1 + xp.exp(-abs(x)))


def sigmoid_dx(dy: Array, y: Array) -> Array:
    """dx = dy y (1 - y);  `y` is what `sigmoid` returned."""
    return dy * (y * (1 - y))


def tanh(x: Array) -> Array:
    """y = (exp(x) - exp(-x)) / (exp(x) + exp(-x))."""
    return array_module(x).tanh(x)


def tanh_dx(dy: Array, y: Array) -> Array:
    """dx = dy (1 - y^2);  `y` is what `tanh` returned."""
    return dy * (1 - y * y)


# --------------------------------------------------------------------- loss


def softmax_cross_entropy(logits: Array, labels: Array, smoothing: float) -> tuple[Array, Array]:
    """The loss (0-d) and dlogits (N, K) of logits (N, K) and labels (N,); `minidl/losses/` derives them.

    log p = z - logsumexp(z),  q = (1 - s) [j = y] + s / K,  loss = -(1/N) sum q log p,  dz = (p - q) / N.
    Without smoothing (s = 0) that is loss = -(1/N) sum over rows of log p[y].
    """
    xp = array_module(logits)
    n, k = logits.shape
    log_p = logits - logits.max(axis=1, keepdims=True)
    p = xp.exp(log_p)
    total = p.sum(axis=1, keepdims=True)  # (N, 1)
    log_p -= xp.log(total)
    p /= total

    # The label's log p is picked out of its row. A product with a one-hot row would give 0 * -inf = NaN where a
    # logit is -inf.
    loss = -xp.take_along_axis(log_p, labels[:, None], axis=1).sum() * ((1 - smoothing) / n)
    one_hot = labels[:, None] == xp.arange(k)  # (N, K) bool
    dz = p - one_hot.astype(p.dtype) * (1 - smoothing)
    if smoothing:
        loss -= log_p.sum() * (smoothing / (n * k))
        dz -= smoothing / k
    dz /= n
    return xp.asarray(loss), dz  # a sum is a scalar in NumPy and a 0-d array in CuPy: asarray gives the latter


# ---------------------------------------------------------------- optimizer


def adam(
    w: Array,
    g: Array,
    m: Array,
    v: Array,
    step: float,
    betas: tuple[float, float],
    root: float,
    eps: float,
    decay: float,
) -> None:
    """One step of Adam, in place: changes w and its moments m and v.

    g <- g + decay w
    m <- b1 m + (1 - b1) g
    v <- b2 v + (1 - b2) g^2
    w <- w - step m / (sqrt(v) / root + eps),    step = lr / (1 - b1^t),  root = sqrt(1 - b2^t)
    """
    xp = array_module(w)
    b1, b2 = betas
    if decay:
        g = g + w * decay
    m[...] = m * b1 + g * (1 - b1)
    v[...] = v * b2 + g * g * (1 - b2)
    w -= m / (xp.sqrt(v) / root + eps) * step
