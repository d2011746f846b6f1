"""Solutions of batch_norm as different students write them: gamma (x - mean) inv_std + beta."""

import numpy as np


def right_literal(x, mean, inv_std, gamma, beta):
    xhat = (x - mean) * inv_std
    return gamma * xhat + beta


def right_one_channel_after_the_other(x, mean, inv_std, gamma, beta):
    y = np.empty(x.shape, dtype=x.dtype)
    for c in range(x.shape[-1]):
        y[..., c] = gamma[c] * (x[..., c] - mean[c]) * inv_std[c] + beta[c]
    return y


def right_scale_and_shift(x, mean, inv_std, gamma, beta):
    scale = gamma * inv_std
    shift = beta - mean * scale
    return np.multiply(x, scale) + shift


def right_einsum_on_a_matrix(x, mean, inv_std, gamma, beta):
    rows = x.reshape(-1, x.shape[-1])
    y = np.einsum("mc,c,c->mc", rows - mean, inv_std, gamma)
    y += beta
    return y.reshape(x.shape)


def wrong_divides_by_inv_std(x, mean, inv_std, gamma, beta):
    """divides by inv_std, which is one over the standard deviation already"""
    return gamma * (x - mean) / inv_std + beta


def wrong_beta_inside(x, mean, inv_std, gamma, beta):
    """adds beta before multiplying by gamma"""
    y = np.empty_like(x)
    for c, (m, s) in enumerate(zip(mean, inv_std, strict=True)):
        y[..., c] = gamma[c] * ((x[..., c] - m) * s + beta[c])
    return y


def wrong_brackets(x, mean, inv_std, gamma, beta):
    """multiplies only the mean by inv_std, because brackets are missing"""
    return gamma * (x - mean * inv_std) + beta


def wrong_gamma_and_beta_swapped(x, mean, inv_std, gamma, beta):
    """swaps gamma and beta"""
    return np.einsum("...c,c->...c", (x - mean) * inv_std, beta) + gamma


def wrong_in_place(x, mean, inv_std, gamma, beta):
    """writes the result into the input"""
    x -= mean
    x *= inv_std * gamma
    x += beta
    return x


def wrong_own_statistics(x, mean, inv_std, gamma, beta):
    """computes mean and variance of the input in place of using those that are given"""
    axes = tuple(range(x.ndim - 1))
    xhat = (x - x.mean(axis=axes)) / np.sqrt(x.var(axis=axes) + x.dtype.type(1e-5))
    return gamma * xhat + beta


def wrong_channels_second(x, mean, inv_std, gamma, beta):
    """takes the second axis for the channels, as in torch"""
    shape = (1, -1) + (1,) * (x.ndim - 2)
    m, s, g, b = (a.reshape(shape) for a in (mean, inv_std, gamma, beta))
    return g * (x - m) * s + b


def wrong_root_of_inv_std(x, mean, inv_std, gamma, beta):
    """takes the root of inv_std, as if it were one over the variance"""
    scale = gamma * np.sqrt(inv_std)
    return (x - mean) * scale + beta


def wrong_gamma_forgotten(x, mean, inv_std, gamma, beta):
    """forgets gamma"""
    flat = x.reshape(-1, len(mean))
    return ((flat - mean[None, :]) * inv_std[None, :] + beta[None, :]).reshape(x.shape)


def wrong_mean_forgotten(x, mean, inv_std, gamma, beta):
    """does not subtract the mean"""
    return x * (gamma * inv_std) + beta
