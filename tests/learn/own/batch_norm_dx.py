"""Wrong answers to batch_norm_dx; each says first which diagnosis it must get."""

import numpy as np


def wrong_constants(dy, x, mean, inv_std, gamma, dgamma, dbeta):
    """typical only the direct path: takes the statistics for constants"""
    return np.einsum("...c,c,c->...c", dy, gamma, inv_std)


def wrong_algorithm_1(dy, x, mean, inv_std, gamma, dgamma, dbeta):
    """typical no path through the mean: the steps of the paper, the last one forgotten"""
    axes = tuple(range(x.ndim - 1))
    m = np.prod(x.shape[:-1])
    dxhat = dy * gamma
    dvar = (dxhat * (x - mean)).sum(axes) * -0.5 * inv_std**3
    return dxhat * inv_std + dvar * 2 * (x - mean) / m


def wrong_without_variance(dy, x, mean, inv_std, gamma, dgamma, dbeta):
    """typical no path through the variance: the steps of the paper without dvar"""
    axes = tuple(range(x.ndim - 1))
    dxhat = dy * gamma
    return inv_std * (dxhat - dxhat.mean(axes))


def wrong_batch_size(dy, x, mean, inv_std, gamma, dgamma, dbeta):
    """typical N for M: the formula of CS231n with N = len(x)"""
    n = len(x)
    xhat = (x - mean) * inv_std
    return gamma * inv_std / n * (n * dy - dbeta - xhat * dgamma)


def wrong_sums(dy, x, mean, inv_std, gamma, dgamma, dbeta):
    """typical sums instead of means: forgets M"""
    return gamma * inv_std * (dy - dbeta - (x - mean) * inv_std * dgamma)


def wrong_m_times(dy, x, mean, inv_std, gamma, dgamma, dbeta):
    """factor: CS231n's formula without its 1/M"""
    m = x.size // x.shape[-1]
    xhat = (x - mean) * inv_std
    return gamma * inv_std * (m * dy - dbeta - xhat * dgamma)


def wrong_gamma_squared(dy, x, mean, inv_std, gamma, dgamma, dbeta):
    """condition: multiplies by |gamma| once more"""
    axes = tuple(range(x.ndim - 1))
    xhat, dxhat = (x - mean) * inv_std, dy * gamma
    return gamma * inv_std * (dxhat - dxhat.mean(axes) - xhat * (dxhat * xhat).mean(axes)) * np.abs(gamma)


def wrong_dy_changed(dy, x, mean, inv_std, gamma, dgamma, dbeta):
    """changed: works in dy"""
    m = x.size // x.shape[-1]
    dy -= dbeta / m
    dy -= (x - mean) * inv_std * dgamma / m
    return dy * gamma * inv_std


def wrong_three_paths_without_2(dy, x, mean, inv_std, gamma, dgamma, dbeta):
    """typical 2 forgotten: the chapter's three paths"""
    axes, m = tuple(range(x.ndim - 1)), x.size // x.shape[-1]
    dxhat = gamma * dy
    dvar = (dxhat * (x - mean) * -0.5 * inv_std**3).sum(axis=axes)
    dmean = (-dxhat * inv_std).sum(axis=axes)
    return dxhat * inv_std + dvar * (x - mean) / m + dmean / m


def wrong_three_paths_without_power(dy, x, mean, inv_std, gamma, dgamma, dbeta):
    """typical power of inv_std: the chapter's three paths"""
    axes, m = tuple(range(x.ndim - 1)), x.size // x.shape[-1]
    dxhat = gamma * dy
    dvar = (dxhat * (x - mean) * -0.5 * inv_std).sum(axis=axes)
    dmean = (-dxhat * inv_std).sum(axis=axes)
    return dxhat * inv_std + dvar * 2 * (x - mean) / m + dmean / m
