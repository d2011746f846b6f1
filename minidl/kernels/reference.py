"""The reference kernels: the shortest correct form of every array operation behind a layer.

This file is the oracle (every faster kernel is held against it) and the textbook. It is written against
`xp`, so NumPy and CuPy arrays are both welcome.

Convolution as a matrix product. Every output pixel looks at one KH x KW x C patch of the input. `im2col`
copies each patch into a row of a matrix `cols`; then, with P = N OH OW patches and K = KH KW C numbers each,

    y = cols @ w            (P, F) = (P, K) @ (K, F)

Matrix calculus gives the two products of the backward pass at once:

    dw    = cols.T @ dy     (K, F) = (K, P) @ (P, F)
    dcols = dy @ w.T        (P, K) = (P, F) @ (F, K)

and `col2im`, the transpose of `im2col`, carries dcols to dx: a pixel that was copied into several patches
receives the sum of their gradients, since dL/dx = sum over copies of dL/dcopy.
"""

from __future__ import annotations

from minidl.backend.arrays import Array, array_module
from minidl.kernels.shapes import window_positions

Shape = tuple[int, ...]


# ------------------------------------------------------------------ windows


def pad2d(x: Array, padding: int, value: float = 0.0) -> Array:
    """`x` with `padding` rows and columns of `value` on every side, always a new array."""
    xp = array_module(x)
    n, h, w, c = x.shape
    padded = xp.full((n, h + 2 * padding, w + 2 * padding, c), value, dtype=x.dtype)
    padded[:, padding : padding + h, padding : padding + w] = x
    return padded


def unpad2d(padded: Array, padding: int) -> Array:
    """`padded` without its border (the transpose of zero padding)."""
    _, h, w, _ = padded.shape
    return padded[:, padding : h - padding, padding : w - padding]


def offsets(kernel: tuple[int, int], stride: int, out: tuple[int, int]):
    """For every pixel (kh, kw) of the window, in order: (k, rows, columns), k = kh KW + kw.

    `rows` and `columns` are the slices of the padded input that hold this pixel of all OH x OW windows.
    """
    (kh_, kw_), (oh, ow) = kernel, out
    for kh in range(kh_):
        for kw in range(kw_):
            yield kh * kw_ + kw, slice(kh, kh + stride * oh, stride), slice(kw, kw + stride * ow, stride)


def _out_size(x_shape: Shape, kernel: tuple[int, int], stride: int, padding: int) -> tuple[int, int]:
    return (
        window_positions(x_shape[1], kernel[0], stride, padding),
        window_positions(x_shape[2], kernel[1], stride, padding),
    )


def im2col(x: Array, kernel: tuple[int, int], stride: int, padding: int) -> Array:
    """All patches of `x` (N, H, W, C) as rows: (N OH OW, KH KW C)."""
    xp = array_module(x)
    n, _, _, c = x.shape
    oh, ow = _out_size(x.shape, kernel, stride, padding)
    padded = pad2d(x, padding)
    cols = xp.empty((n, oh, ow, kernel[0] * kernel[1], c), dtype=x.dtype)
    for k, rows, columns in offsets(kernel, stride, (oh, ow)):
        cols[:, :, :, k] = padded[:, rows, columns]
    return cols.reshape(n * oh * ow, -1)  # (N, OH, OW, KH KW, C) -> (P, K)


def col2im(dcols: Array, x_shape: Shape, kernel: tuple[int, int], stride: int, padding: int) -> Array:
    """The transpose of im2col: every pixel receives the sum over the patches it was copied into."""
    xp = array_module(dcols)
    n, h, w, c = x_shape
    oh, ow = _out_size(x_shape, kernel, stride, padding)
    dcols = dcols.reshape(n, oh, ow, kernel[0] * kernel[1], c)  # (P, K) -> (N, OH, OW, KH KW, C)
    dpadded = xp.zeros((n, h + 2 * padding, w + 2 * padding, c), dtype=dcols.dtype)
    for k, rows, columns in offsets(kernel, stride, (oh, ow)):
        dpadded[:, rows, columns] += dcols[:, :, :, k]
    return unpad2d(dpadded, padding)


# -------------------------------------------------------------- convolution


def conv2d(x: Array, w: Array, stride: int, padding: int) -> Array:
    """y[n,oh,ow,f] = sum over kh,kw,c of x[n, s oh + kh - p, s ow + kw - p, c] w[kh,kw,c,f].

    x (N, H, W, C), w (KH, KW, C, F) -> y (N, OH, OW, F).
    """
    kh, kw, _, f = w.shape
    oh, ow = _out_size(x.shape, (kh, kw), stride, padding)
    cols = im2col(x, (kh, kw), stride, padding)
    y = cols @ w.reshape(-1, f)  # (P, K) @ (K, F)
    return y.reshape(-1, oh, ow, f)  # (P, F) -> (N, OH, OW, F)


def conv2d_dw(x: Array, dy: Array, w_shape: Shape, stride: int, padding: int) -> Array:
    """dw = cols.T @ dy. x (N, H, W, C), dy (N, OH, OW, F) -> dw (KH, KW, C, F)."""
    kh, kw, _, f = w_shape
    cols = im2col(x, (kh, kw), stride, padding)
    dw = cols.T @ dy.reshape(-1, f)  # (K, P) @ (P, F)
    return dw.reshape(w_shape)  # (K, F) -> (KH, KW, C, F)


def conv2d_dx(dy: Array, w: Array, x_shape: Shape, stride: int, padding: int) -> Array:
    """dx = col2im(dy @ w.T). dy (N, OH, OW, F), w (KH, KW, C, F) -> dx (N, H, W, C)."""
    kh, kw, _, f = w.shape
    dcols = dy.reshape(-1, f) @ w.reshape(-1, f).T  # (P, F) @ (F, K)
    return col2im(dcols, x_shape, (kh, kw), stride, padding)


# ------------------------------------------------------------------ pooling


def max_pool(x: Array, kernel: int, stride: int, padding: int) -> tuple[Array, Array]:
    """y[n,oh,ow,c] = max over the window; also the winner's offset kh KW + kw within its window, as uint8.

    The first maximum wins, the first NaN wins over all, and padding is -inf, so it never wins.
    """
    xp = array_module(x)
    window = (kernel, kernel)
    oh, ow = _out_size(x.shape, window, stride, padding)
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
    """dx[h,w] = sum of dy over the windows whose maximum stood at (h, w).

    `overlap` says how windows that share their maximum join. The gradient is their "sum". For the deconvnet's
    unpooling there are also "last" (the window with the highest (oh, ow)) and "max" (the largest signed value).
    """
    xp = array_module(dy)
    n, h, w, c = x_shape
    dpadded = xp.zeros((n, h + 2 * padding, w + 2 * padding, c), dtype=dy.dtype)
    touched = xp.zeros(dpadded.shape, dtype=bool)
    # Seen from one pixel, a smaller offset within the window means a window further down and to the right:
    # offsets in falling order visit the windows in rising order of (oh, ow).
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
    """y[n,oh,ow,c] = (1 / kernel^2) sum over the window; zero padding counts as pixels."""
    oh, ow = _out_size(x.shape, (kernel, kernel), stride, padding)
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
    """Mean and biased variance of every channel over all other axes, in two passes and summed in float64.

    mean = (1/M) sum x,  var = (1/M) sum (x - mean)^2.  The one-pass form E[x^2] - mean^2 would lose its digits
    where |mean| is much larger than the standard deviation. x (..., C) -> two (C,) float64.
    """
    xp = array_module(x)
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axis=axes, dtype=xp.float64)
    var = ((x - mean) ** 2).mean(axis=axes)
    return mean, var


def batch_norm_moments(
    mean: Array, var: Array, running_mean: Array, running_var: Array, momentum: float, unbias: float, eps: float
) -> tuple[Array, Array]:
    """Moves the running statistics (`move_running`); the batch's (mean, inv_std) in their dtype.

    inv_std = 1 / sqrt(var + eps).  mean and var (C,) float64, as from batch_statistics.
    """
    dtype = running_mean.dtype
    move_running(mean, var, running_mean, running_var, momentum, unbias)
    return mean.astype(dtype), (1 / array_module(var).sqrt(var + eps)).astype(dtype)


def move_running(
    mean: Array, var: Array, running_mean: Array, running_var: Array, momentum: float, unbias: float
) -> None:
    """running <- running + momentum (batch - running), in place; for the variance with unbias = M/(M-1) times the
    batch's. All (C,)."""
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
    """dx = gamma inv_std (dy - dbeta/M - xhat dgamma/M): the gradient through the batch's own mean and variance."""
    m = x.size // x.shape[-1]
    xhat = (x - mean) * inv_std
    return (dy - dbeta * (1 / m) - xhat * (dgamma * (1 / m))) * (gamma * inv_std)


# --------------------------------------------------------------- activation


def relu(x: Array) -> tuple[Array, Array]:
    """y = max(x, 0), and the mask [x > 0]. A NaN stays a NaN."""
    xp = array_module(x)
    return xp.maximum(x, 0), x > 0


def relu_dx(dy: Array, mask: Array) -> Array:
    """dx = dy [x > 0]."""
    return dy * mask


# --------------------------------------------------------------------- loss


def softmax_cross_entropy(logits: Array, labels: Array, smoothing: float) -> tuple[Array, Array]:
    """The loss (0-d) and dlogits (N, K) of logits (N, K) and labels (N,), as minidl.losses derives them.

    log p = z - logsumexp(z),  q = (1 - s) [j = y] + s / K,  loss = -(1/N) sum q log p,  dz = (p - q) / N.
    """
    xp = array_module(logits)
    n, k = logits.shape
    log_p = logits - logits.max(axis=1, keepdims=True)
    p = xp.exp(log_p)
    total = p.sum(axis=1, keepdims=True)  # (N, 1)
    log_p -= xp.log(total)
    p /= total

    # The label's own log p is picked, not multiplied by a one-hot row: 0 * log 0 would be NaN for a logit of -inf.
    loss = xp.take_along_axis(log_p, labels[:, None], axis=1).sum() * ((smoothing - 1) / n)
    one_hot = labels[:, None] == xp.arange(k)  # (N, K) bool
    p -= one_hot.astype(p.dtype) * (1 - smoothing)
    if smoothing:
        loss -= log_p.sum() * (smoothing / (n * k))
        p -= smoothing / k
    p /= n
    return xp.asarray(loss), p  # NumPy's sums are scalars, CuPy's 0-d arrays; asarray makes both the latter


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
    """One step of Adam, which writes to w and to its moments m and v.

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
