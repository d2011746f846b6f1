"""Wrong answers to dropout_dx; each says first which diagnosis it must get."""

import numpy as np


def wrong_zeros(self, dy, cache):
    """typical factor missing: sets the dropped ones to zero"""
    dx = dy.copy()
    if cache is not None:
        dx[cache == 0] = 0
    return dx


def wrong_square(self, dy, cache):
    """typical factor twice: the mask squared"""
    return np.multiply(dy, 1 if cache is None else cache**2)


def wrong_draws(self, dy, cache):
    """typical a new mask: draws again"""
    if cache is None:
        return dy
    keep = np.random.default_rng().binomial(1, 1 - self.p, dy.shape)
    return np.where(keep, dy * cache.max(), 0)


def wrong_always_scaled(self, dy, cache):
    """typical no mask: the factor alone"""
    return dy if cache is None else dy * cache.max()


def wrong_in_place(self, dy, cache):
    """changed: writes into dy"""
    if cache is not None:
        np.multiply(dy, cache, out=dy)
    return dy


def wrong_sign(self, dy, cache):
    """sign: subtracts"""
    return -dy if cache is None else np.where(cache > 0, -dy * cache, 0)


def wrong_selected(self, dy, cache):
    """shape: returns only the numbers that were kept"""
    return dy if cache is None else (dy * cache)[cache != 0]
