"""Solutions of batch_statistics as different students write them: mean and biased variance of every channel."""

import math

import numpy as np


def right_numpy_var(x):
    rows = x.reshape(-1, x.shape[-1]).astype(np.float64)
    return np.mean(rows, axis=0), np.var(rows, axis=0)


def right_one_channel_after_the_other(x):
    c = x.shape[-1]
    mean, var = np.zeros(c), np.zeros(c)
    for k in range(c):
        values = x[..., k].astype("float64").ravel()
        mean[k] = values.sum() / values.size
        centred = values - mean[k]
        var[k] = centred.dot(centred) / values.size
    return mean, var


def right_welford(x):
    rows = np.reshape(x, (-1, x.shape[-1]))
    mean = np.zeros(rows.shape[1], dtype=np.float64)
    squares = np.zeros_like(mean)
    for m, row in enumerate(rows, start=1):
        delta = row - mean
        mean += delta / m
        squares += delta * (row - mean)
    return mean, squares / len(rows)


def right_shifted_by_the_first(x):
    rows = x.reshape(-1, x.shape[-1]).astype(np.float64)
    d = rows - rows[0]
    first, second = d.mean(axis=0), (d * d).mean(axis=0)
    return rows[0] + first, np.maximum(second - first**2, 0)


def right_exact_sums(x):
    columns = x.reshape(-1, x.shape[-1]).T.tolist()
    mean = [math.fsum(column) / len(column) for column in columns]
    var = [math.fsum((v - m) ** 2 for v in column) / len(column) for column, m in zip(columns, mean, strict=True)]
    return np.array(mean), np.array(var)


def wrong_divides_by_m_minus_one(x):
    """divides the squares by M - 1, which gives the unbiased variance"""
    axes = tuple(range(x.ndim - 1))
    x = x.astype(np.float64)
    return x.mean(axis=axes), x.var(axis=axes, ddof=1)


def wrong_standard_deviation(x):
    """returns the standard deviation in place of the variance"""
    rows = x.reshape(-1, x.shape[-1]).astype(np.float64)
    mean = rows.mean(0)
    return mean, np.sqrt(((rows - mean) ** 2).mean(0))


def wrong_batch_axis_only(x):
    """takes the mean over the batch only and keeps one mean for each pixel"""
    mean = np.mean(x, axis=0, dtype=np.float64)
    var = np.mean(np.square(x - mean), axis=0)
    return mean, var


def wrong_one_mean_for_all_channels(x):
    """takes the mean over everything, the channels too"""
    c = x.shape[-1]
    mean = x.mean(dtype=np.float64)
    var = ((x - mean) ** 2).mean()
    return np.full(c, mean), np.full(c, var)


def wrong_channels_second(x):
    """takes the second axis for the channels, as in torch"""
    axes = (0, *range(2, x.ndim))
    v = x.astype(np.float64)
    return v.mean(axis=axes), v.var(axis=axes)


def wrong_one_pass(x):
    """computes E[x^2] - mean^2 in the precision of x, which loses the digits if the mean is large"""
    rows = x.reshape(-1, x.shape[-1])
    mean = rows.mean(axis=0)
    var = (rows * rows).mean(axis=0) - mean * mean
    return mean.astype(np.float64), var.astype(np.float64)


def wrong_precision_of_x(x):
    """sums in float32 and returns float32 for a float32 input"""
    axes = tuple(range(x.ndim))[:-1]
    mean = np.sum(x, axis=axes) / (x.size // x.shape[-1])
    return mean, np.mean((x - mean) ** 2, axis=axes)


def wrong_mean_square(x):
    """forgets to subtract the mean before squaring"""
    axes = tuple(range(x.ndim - 1))
    m = x.size / x.shape[-1]
    wide = x.astype(np.float64)
    return wide.sum(axes) / m, (wide**2).sum(axes) / m


def wrong_keeps_the_axes(x):
    """keeps the reduced axes, so that the shape is (1, 1, 1, C) in place of (C,)"""
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axis=axes, keepdims=True, dtype=np.float64)
    return mean, ((x - mean) ** 2).mean(axis=axes, keepdims=True)


def wrong_centres_the_input(x):
    """subtracts the mean from the array of the caller"""
    axes = tuple(range(x.ndim - 1))
    mean = x.mean(axis=axes, dtype=np.float64)
    x -= mean.astype(x.dtype)
    return mean, np.mean(x.astype(np.float64) ** 2, axis=axes)


def wrong_divides_by_the_batch(x):
    """divides the sums by N in place of N H W"""
    rows = x.reshape(-1, x.shape[-1]).astype(np.float64)
    mean = rows.sum(axis=0) / x.shape[0]
    return mean, ((rows - mean) ** 2).sum(axis=0) / x.shape[0]


def wrong_four_axes_only(x):
    """names the axes (0, 1, 2), which fits images but not (N, C)"""
    wide = x.astype(np.float64)
    return wide.mean(axis=(0, 1, 2)), wide.var(axis=(0, 1, 2))
