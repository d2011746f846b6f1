"""Wrong answers to softmax; each says first which diagnosis it must get."""

import numpy as np


def wrong_plain_quotient(logits):
    """typical overflows: the formula as it stands"""
    e = np.exp(logits)
    return np.divide(e, np.expand_dims(np.sum(e, -1), -1))


def wrong_one_maximum(logits):
    """typical one maximum for all rows: max without an axis"""
    e = np.exp(logits - np.max(logits))
    return e / np.einsum("...k->...", e)[..., None]


def wrong_second_axis(logits):
    """typical axis 1: written for a batch only"""
    z = logits - np.amax(logits, 1)[:, None] if logits.ndim == 2 else logits - logits.max(1, keepdims=True)
    return np.exp(z) / np.exp(z).sum(1, keepdims=True)


def wrong_sum_of_all(logits):
    """typical normalized over everything: sum without an axis"""
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / np.sum(e)


def wrong_log(logits):
    """typical logarithm without p: returns log p"""
    z = logits - logits.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def wrong_clears_the_caller(logits):
    """changed: subtracts the maximum from the caller's array"""
    logits -= logits.max(-1, keepdims=True)
    e = np.exp(logits)
    return e / e.sum(-1, keepdims=True)


def wrong_no_keepdims(logits):
    """raises: the shapes don't fit for the subtraction"""
    e = np.exp(logits - logits.max(-1))
    return e / e.sum(-1)


def wrong_epsilon(logits):
    """nearly: an epsilon against a division by zero, which can't happen"""
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / (e.sum(-1, keepdims=True) + 1e-6)


def wrong_times_k(logits):
    """factor: a mean in place of the sum"""
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.mean(-1, keepdims=True)


def wrong_clipped(logits):
    """condition: clips large logits so that exp doesn't overflow"""
    e = np.exp(np.clip(logits, -50, 50))
    return e / e.sum(-1, keepdims=True)
