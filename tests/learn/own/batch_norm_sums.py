"""Wrong answers to batch_norm_sums; each says first which diagnosis it must get."""

import numpy as np


def _flat(a):
    return a.reshape(-1, a.shape[-1])


def wrong_means(dy, x, mean, inv_std):
    """typical averaged: divides by M"""
    xhat = (_flat(x) - mean) * inv_std
    return np.einsum("mc,mc->c", _flat(dy), xhat) / len(xhat), _flat(dy).mean(0)


def wrong_plain_x(dy, x, mean, inv_std):
    """typical x for xhat: as in a linear layer"""
    return np.einsum("mc,mc->c", _flat(dy), _flat(x)), _flat(dy).sum(0)


def wrong_not_scaled(dy, x, mean, inv_std):
    """typical inv_std missing: in a loop"""
    dgamma = np.array([(dy[..., c] * (x[..., c] - mean[c])).sum() for c in range(len(mean))])
    return dgamma, _flat(dy).sum(0)


def wrong_cs231n(dy, x, mean, inv_std):
    """typical batch axis only: the sums of the two-dimensional case"""
    xhat = (x - mean) * inv_std
    return np.sum(dy * xhat, axis=0), np.sum(dy, axis=0)


def wrong_order(dy, x, mean, inv_std):
    """exchanged: (dbeta, dgamma)"""
    xhat = (_flat(x) - mean) * inv_std
    return _flat(dy).sum(0), (_flat(dy) * xhat).sum(0)


def wrong_sign(dy, x, mean, inv_std):
    """sign: mean - x"""
    return (_flat(dy) * (mean - _flat(x)) * inv_std).sum(0), _flat(dy).sum(0)


def wrong_list(dy, x, mean, inv_std):
    """kind: a list of the two"""
    return [(_flat(dy) * (_flat(x) - mean) * inv_std).sum(0), _flat(dy).sum(0)]
