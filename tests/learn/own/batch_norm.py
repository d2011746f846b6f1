"""Wrong answers to batch_norm; each says first which diagnosis it must get."""

import numpy as np


def wrong_divides(x, mean, inv_std, gamma, beta):
    """typical divided by inv_std: takes it for the standard deviation"""
    return np.stack([gamma[c] * ((x[..., c] - mean[c]) / inv_std[c]) + beta[c] for c in range(len(mean))], axis=-1)


def wrong_order(x, mean, inv_std, gamma, beta):
    """typical beta scaled: shifts, then scales"""
    y = (x - mean) * inv_std
    y += beta
    y *= gamma
    return y


def wrong_recomputed(x, mean, inv_std, gamma, beta):
    """typical own statistics: as in training"""
    axes = tuple(range(x.ndim - 1))
    return gamma * (x - x.mean(axes)) / np.sqrt(x.var(axes) + 1e-5) + beta


def wrong_only_normalized(x, mean, inv_std, gamma, beta):
    """typical only normalized: forgets both"""
    return np.einsum("...c,c->...c", x - mean, inv_std)


def wrong_scaled_first(x, mean, inv_std, gamma, beta):
    """typical mean after the scale: a wrong bracket"""
    return gamma * (inv_std * x - mean) + beta


def wrong_in_place(x, mean, inv_std, gamma, beta):
    """changed: saves memory at the caller's cost"""
    x -= mean
    x *= inv_std * gamma
    return x + beta


def wrong_channels_first(x, mean, inv_std, gamma, beta):
    """raises: as in torch"""
    shape = (1, -1, 1, 1)
    return (x - mean.reshape(shape)) * (gamma * inv_std).reshape(shape) + beta.reshape(shape)[:, :, 0]


def wrong_absolute(x, mean, inv_std, gamma, beta):
    """unknown: only upwards"""
    return np.abs(gamma * (x - mean) * inv_std) + np.abs(beta)
