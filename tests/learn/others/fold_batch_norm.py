"""Right and wrong answers of learners to the exercise fold_batch_norm."""

import math

import numpy as np


def right_two_lines(gamma, beta, mean, var, eps):
    scale = gamma * (var + eps) ** -0.5
    return scale.astype(gamma.dtype), (beta - scale * mean).astype(gamma.dtype)


def right_two_points_of_the_line(gamma, beta, mean, var, eps):
    def normalized(z):
        return gamma.astype(np.float64) * (z - mean) / np.sqrt(var + eps) + beta

    shift = normalized(0.0)
    scale = normalized(1.0) - shift
    return scale.astype(gamma.dtype), shift.astype(gamma.dtype)


def right_channel_by_channel(gamma, beta, mean, var, eps):
    eps = np.broadcast_to(eps, gamma.shape)
    scale, shift = np.empty_like(gamma), np.empty_like(beta)
    for c in range(len(gamma)):
        a = float(gamma[c]) / math.sqrt(float(var[c]) + float(eps[c]))
        scale[c] = a
        shift[c] = float(beta[c]) - float(mean[c]) * a
    return scale, shift


def right_product_of_affine_maps(gamma, beta, mean, var, eps):
    def affine(a, b):  # (C, 2, 2): z -> a z + b in homogeneous coordinates
        m = np.zeros((len(mean), 2, 2))
        m[:, 0, 0], m[:, 0, 1], m[:, 1, 1] = a, b, 1
        return m

    whole = affine(gamma, beta) @ affine(1 / np.sqrt(var + eps), 0) @ affine(1, -mean)
    return whole[:, 0, 0].astype(gamma.dtype), whole[:, 0, 1].astype(gamma.dtype)


def wrong_eps_outside_the_root(gamma, beta, mean, var, eps):
    """eps is added to the standard deviation, not to the variance."""
    scale = gamma / (np.sqrt(var) + eps)
    shift = beta - mean * scale
    return scale.astype(gamma.dtype), shift.astype(gamma.dtype)


def wrong_no_root(gamma, beta, mean, var, eps):
    """Divides by var + eps: the square root is missing."""
    s = gamma / (var + eps)
    return s.astype(gamma.dtype), (beta - s * mean).astype(gamma.dtype)


def wrong_mean_not_scaled(gamma, beta, mean, var, eps):
    """The mean is subtracted from beta without being scaled."""
    inv = 1.0 / np.sqrt(var + eps)
    return (gamma * inv).astype(gamma.dtype), (beta - mean).astype(gamma.dtype)


def wrong_sign(gamma, beta, mean, var, eps):
    """The scaled mean is added to beta instead of subtracted."""
    k = gamma / np.sqrt(var + eps)
    b = beta + k * mean
    return k.astype(gamma.dtype), b.astype(gamma.dtype)


def wrong_shift_first(gamma, beta, mean, var, eps):
    """Returns (shift, scale) instead of (scale, shift)."""
    std = np.sqrt(var + eps)
    weight, bias = gamma / std, beta - gamma * mean / std
    return bias.astype(gamma.dtype), weight.astype(gamma.dtype)


def wrong_gamma_missing_in_shift(gamma, beta, mean, var, eps):
    """In the shift the mean is divided by the standard deviation, but not multiplied by gamma."""
    inv_std = np.power(var + eps, -0.5)
    scale = (gamma * inv_std).astype(gamma.dtype)
    shift = (beta - mean * inv_std).astype(gamma.dtype)
    return scale, shift


def wrong_eps_missing(gamma, beta, mean, var, eps):
    """eps is left out."""
    scale = gamma / np.sqrt(var)
    return scale.astype(gamma.dtype), (beta - scale * mean).astype(gamma.dtype)


def wrong_beta_scaled(gamma, beta, mean, var, eps):
    """beta is scaled too: shift = (beta - mean) scale."""
    scale = (gamma / np.sqrt(var + eps)).astype(gamma.dtype)
    shift = ((beta - mean) * scale).astype(gamma.dtype)
    return scale, shift


def wrong_stays_float64(gamma, beta, mean, var, eps):
    """The result has the dtype of the statistics, float64, and not that of gamma."""
    scale = np.divide(gamma, np.sqrt(np.add(var, eps)))
    return scale, np.subtract(beta, np.multiply(mean, scale))


def wrong_changes_var(gamma, beta, mean, var, eps):
    """var += eps changes the caller's running variance."""
    var += eps
    scale = gamma / np.sqrt(var)
    return scale.astype(gamma.dtype), (beta - mean * scale).astype(gamma.dtype)


def wrong_multiplied(gamma, beta, mean, var, eps):
    """gamma is multiplied by the standard deviation instead of divided by it."""
    scale = gamma * np.sqrt(var + eps)
    return scale.astype(gamma.dtype), (beta - mean * scale).astype(gamma.dtype)
