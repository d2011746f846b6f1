"""Right and wrong answers of learners to the exercise unpool (overlap "sum", "last" and "max")."""

import numpy as np


def right_windows_in_reading_order(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    n, h, w, c = x_shape
    out = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dtype=dy.dtype)
    seen = np.zeros(out.shape, dtype=bool)
    for b, i, j, ch in np.ndindex(*dy.shape):
        kh, kw = divmod(int(index[b, i, j, ch]), kernel)
        place = b, i * stride + kh, j * stride + kw, ch
        value = dy[b, i, j, ch]
        if overlap == "sum":
            out[place] += value
        elif overlap == "last" or not seen[place] or value > out[place]:
            out[place] = value
        seen[place] = True
    return out[:, padding : padding + h, padding : padding + w]


def right_ufunc_at(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    n, h, w, c = x_shape
    shape = (n, h + 2 * padding, w + 2 * padding, c)
    b, i, j, ch = np.indices(index.shape)
    kh, kw = np.divmod(index.astype(np.intp), kernel)
    places = b, i * stride + kh, j * stride + kw, ch
    if overlap == "max":
        big = np.full(shape, -np.inf, dtype=dy.dtype)
        np.maximum.at(big, places, dy)
        big[np.isneginf(big)] = 0
    else:
        big = np.zeros(shape, dtype=dy.dtype)
        if overlap == "sum":
            np.add.at(big, places, dy)
        else:
            for i in range(dy.shape[1]):
                for j in range(dy.shape[2]):
                    big[tuple(p[:, i, j] for p in places)] = dy[:, i, j]
    return big[:, padding : h + padding, padding : w + padding]


def right_dictionary(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    join = {"sum": sum, "last": lambda values: values[-1], "max": max}[overlap]
    received = {}
    for i in range(dy.shape[1]):
        for j in range(dy.shape[2]):
            for b in range(dy.shape[0]):
                for ch in range(dy.shape[3]):
                    k = int(index[b, i, j, ch])
                    key = (b, i * stride + k // kernel - padding, j * stride + k % kernel - padding, ch)
                    received.setdefault(key, []).append(dy[b, i, j, ch])
    dx = np.zeros(x_shape, dy.dtype)
    for (b, r, q, ch), values in received.items():
        if 0 <= r < x_shape[1] and 0 <= q < x_shape[2]:
            dx[b, r, q, ch] = join(values)
    return dx


def right_sorted_groups(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    n, h, w, c = x_shape
    hp, wp = h + 2 * padding, w + 2 * padding
    b, i, j, ch = np.indices(index.shape)
    rows, cols = i * stride + index // kernel, j * stride + index % kernel
    flat = np.ravel_multi_index((b, rows, cols, ch), (n, hp, wp, c)).ravel()
    values = dy.ravel()
    order = np.lexsort((values, flat)) if overlap == "max" else np.argsort(flat, kind="stable")
    flat, values = flat[order], values[order]
    out = np.zeros(n * hp * wp * c, dy.dtype)
    first = np.flatnonzero(np.r_[True, flat[1:] != flat[:-1]])
    last = np.r_[first[1:], len(flat)] - 1
    out[flat[first]] = np.add.reduceat(values, first) if overlap == "sum" else values[last]
    return out.reshape(n, hp, wp, c)[:, padding : padding + h, padding : padding + w]


def wrong_max_with_zero(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    """For "max" the comparison starts with 0, so negative values are lost."""
    n, h, w, c = x_shape
    out = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dy.dtype)
    for b, i, j, ch in np.ndindex(*dy.shape):
        r, q = divmod(int(index[b, i, j, ch]), kernel)
        r, q = r + stride * i, q + stride * j
        if overlap == "sum":
            out[b, r, q, ch] += dy[b, i, j, ch]
        elif overlap == "last":
            out[b, r, q, ch] = dy[b, i, j, ch]
        else:
            out[b, r, q, ch] = max(out[b, r, q, ch], dy[b, i, j, ch])
    return out[:, padding : padding + h, padding : padding + w]


def wrong_first_wins(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    """For "last" the first window wins: the offsets of the window are walked in rising order."""
    n, h, w, c = x_shape
    oh, ow = dy.shape[1:3]
    out = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dy.dtype)
    hit_before = np.zeros(out.shape, bool)
    for k in range(kernel**2):
        area = np.s_[:, k // kernel :, k % kernel :]
        part = out[area][:, : stride * oh : stride, : stride * ow : stride]
        before = hit_before[area][:, : stride * oh : stride, : stride * ow : stride]
        hit = index == k
        if overlap == "sum":
            part[hit] += dy[hit]
        elif overlap == "last":
            part[hit] = dy[hit]
        else:
            part[hit] = np.where(before, np.maximum(part, dy), dy)[hit]
        before[hit] = True
    return out[:, padding : padding + h, padding : padding + w]


def wrong_always_sum(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    """overlap is ignored: a shared maximum always receives the sum."""
    n, h, w, c = x_shape
    big = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dy.dtype)
    for b in range(n):
        for i, j in np.ndindex(dy.shape[1:3]):
            k = index[b, i, j].astype(int)
            big[b, i * stride + k // kernel, j * stride + k % kernel, np.arange(c)] += dy[b, i, j]
    return big[:, padding : padding + h, padding : padding + w]


def wrong_largest_magnitude(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    """For "max" the value with the largest magnitude wins, not the largest signed value."""
    n, h, w, c = x_shape
    out = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dy.dtype)
    b, rows, cols, ch = np.indices(index.shape)
    rows, cols = rows * stride + index // kernel, cols * stride + index % kernel
    for i in range(dy.shape[1]):
        for j in range(dy.shape[2]):
            at = b[:, i, j], rows[:, i, j], cols[:, i, j], ch[:, i, j]
            new, old = dy[:, i, j], out[at]
            if overlap == "sum":
                new = old + new
            elif overlap == "max":
                new = np.where(np.abs(new) > np.abs(old), new, old)
            out[at] = new
    return out[:, padding : padding + h, padding : padding + w]


def wrong_columns_first(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    """For "last" the windows are walked column by column, so the one furthest to the right wins."""
    n, h, w, c = x_shape
    result = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dtype=dy.dtype)
    touched = set()
    for j in range(dy.shape[2]):
        for i in range(dy.shape[1]):
            for b in range(n):
                for ch in range(c):
                    k = int(index[b, i, j, ch])
                    p = (b, i * stride + k // kernel, j * stride + k % kernel, ch)
                    g = dy[b, i, j, ch]
                    if overlap == "sum":
                        g = result[p] + g
                    elif overlap == "max" and p in touched:
                        g = max(g, result[p])
                    result[p] = g
                    touched.add(p)
    return result[:, padding : padding + h, padding : padding + w]


def wrong_infinity_left(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    """For "max" pixels that are no maximum keep the -inf that the comparison started with."""
    n, h, w, c = x_shape
    b, i, j, ch = np.indices(index.shape)
    kh, kw = np.divmod(index.astype(np.intp), kernel)
    at = b, i * stride + kh, j * stride + kw, ch
    big = np.full((n, h + 2 * padding, w + 2 * padding, c), -np.inf if overlap == "max" else 0, dy.dtype)
    if overlap == "max":
        np.maximum.at(big, at, dy)
    elif overlap == "sum":
        np.add.at(big, at, dy)
    else:
        big[at] = dy
    return big[:, padding : padding + h, padding : padding + w]


def wrong_mean(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    """For "sum" a shared maximum receives the mean of the dy instead of their sum."""
    n, h, w, c = x_shape
    got = {}
    for b, i, j, ch in np.ndindex(*dy.shape):
        k = int(index[b, i, j, ch])
        got.setdefault((b, i * stride + k // kernel, j * stride + k % kernel, ch), []).append(dy[b, i, j, ch])
    out = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dy.dtype)
    for p, values in got.items():
        out[p] = {"sum": np.mean(values), "last": values[-1], "max": max(values)}[overlap]
    return out[:, padding : padding + h, padding : padding + w]


def wrong_names_exchanged(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    """The rules "last" and "max" are exchanged."""
    n, h, w, c = x_shape
    out = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dy.dtype)
    known = out.astype(bool)
    for b, i, j, ch in np.ndindex(*dy.shape):
        k = int(index[b, i, j, ch])
        p = b, i * stride + k // kernel, j * stride + k % kernel, ch
        if overlap == "sum":
            out[p] = out[p] + dy[b, i, j, ch]
        elif overlap == "max":
            out[p] = dy[b, i, j, ch]
        else:
            out[p] = max(out[p], dy[b, i, j, ch]) if known[p] else dy[b, i, j, ch]
        known[p] = True
    return out[:, padding : padding + h, padding : padding + w]


def wrong_windows_side_by_side(dy, index, x_shape, kernel, stride, padding, overlap="sum"):
    """The window at (i, j) is taken to start at (i K, j K): the stride is not used."""
    n, h, w, c = x_shape
    out = np.zeros((n, h + 2 * padding, w + 2 * padding, c), dy.dtype)
    for b, i, j, ch in np.ndindex(*dy.shape):
        k = int(index[b, i, j, ch])
        r, q = i * kernel + k // kernel, j * kernel + k % kernel
        if r < out.shape[1] and q < out.shape[2]:
            out[b, r, q, ch] = dy[b, i, j, ch]
    return out[:, padding : padding + h, padding : padding + w]
