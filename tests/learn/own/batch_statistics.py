"""Wrong answers to batch_statistics; each says first which diagnosis it must get."""

import numpy as np


def wrong_ddof(x):
    """typical unbiased: the default of torch.var"""
    flat = x.reshape(-1, x.shape[-1])
    return flat.mean(0), flat.var(0, ddof=1)


def wrong_one_pass_in_a_loop(x):
    """typical one pass: collects the sum and the sum of squares"""
    total, squares = np.zeros((2, x.shape[-1]))
    flat = x.reshape(-1, x.shape[-1])
    for row in flat:
        total += row
        squares += row**2
    return total / len(flat), squares / len(flat) - (total / len(flat)) ** 2


def wrong_std(x):
    """typical standard deviation: np.std"""
    flat = x.reshape(-1, x.shape[-1])
    return flat.mean(0), flat.std(0)


def wrong_first_axis(x):
    """typical batch axis only: as for a linear layer"""
    return np.mean(x, axis=0), np.var(x, axis=0)


def wrong_one_number(x):
    """typical all channels together: no axis"""
    return np.mean(x), np.var(x)


def wrong_exchanged(x):
    """exchanged: (var, mean)"""
    flat = x.reshape(-1, x.shape[-1])
    return flat.var(0), flat.mean(0)


def wrong_single(x):
    """float32: the result has the dtype of x"""
    flat = x.reshape(-1, x.shape[-1])
    return flat.mean(0), flat.var(0)


def wrong_keepdims(x):
    """shape: (1, 1, 1, C)"""
    axes = tuple(range(x.ndim - 1))
    return x.mean(axes, keepdims=True), x.var(axes, keepdims=True)
