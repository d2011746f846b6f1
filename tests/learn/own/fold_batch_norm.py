"""Wrong answers to fold_batch_norm; each says first which diagnosis it must get."""

import numpy as np


def _folded(gamma, beta, scale, shift):
    return np.asarray(scale, gamma.dtype), np.asarray(shift, gamma.dtype)


def wrong_eps(gamma, beta, mean, var, eps):
    """typical eps outside the root: std + eps, as in layer norm from memory"""
    std = var**0.5
    return _folded(gamma, beta, gamma / (std + eps), beta - gamma * mean / (std + eps))


def wrong_shift(gamma, beta, mean, var, eps):
    """typical mean not scaled: in a loop"""
    scale = [g / (v + eps) ** 0.5 for g, v in zip(gamma, var, strict=True)]
    return _folded(gamma, beta, scale, [b - m for b, m in zip(beta, mean, strict=True)])


def wrong_bracket(gamma, beta, mean, var, eps):
    """typical beta scaled: a bracket too many"""
    inv_std = (var + eps) ** -0.5
    return _folded(gamma, beta, inv_std * gamma, inv_std * gamma * (beta - mean))


def wrong_inv_std_only(gamma, beta, mean, var, eps):
    """typical gamma missing in shift: uses inv_std in shift"""
    inv_std = (var + eps) ** -0.5
    return _folded(gamma, beta, inv_std * gamma, beta - mean * inv_std)


def wrong_order(gamma, beta, mean, var, eps):
    """exchanged: (shift, scale)"""
    scale = gamma * (var + eps) ** -0.5
    return _folded(gamma, beta, beta - mean * scale, scale)


def wrong_dtype(gamma, beta, mean, var, eps):
    """dtype: float64 where mean and var are"""
    scale = gamma.astype(float) * (var + eps) ** -0.5
    return scale, beta - mean * scale


def wrong_negative(gamma, beta, mean, var, eps):
    """sign: minus scale"""
    scale = gamma * (var + eps) ** -0.5
    return _folded(gamma, beta, -scale, beta - mean * scale)


def wrong_in_place(gamma, beta, mean, var, eps):
    """changed: adds eps to the layer's running variance"""
    var += eps
    scale = gamma / var**0.5
    return _folded(gamma, beta, scale, beta - mean * scale)
