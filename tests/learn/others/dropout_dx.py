"""Right and wrong answers of learners to the exercise dropout_dx."""

import numpy as np


def right_two_lines(self, dy, cache):
    if cache is None:
        return dy
    return np.multiply(dy, cache)


def right_copy_then_in_place(self, dy, cache):
    dx = np.array(dy)
    if cache is not None:
        dx *= cache
    return dx


def right_loop(self, dy, cache):
    dx = np.zeros(dy.shape, dtype=dy.dtype)
    for where, g in np.ndenumerate(dy):
        dx[where] = g if cache is None else g * cache[where]
    return dx


def right_scaled_where_kept(self, dy, cache):
    if cache is None:
        return dy.copy()
    kept = cache != 0
    out = np.zeros_like(dy)
    out[kept] = dy[kept] / (1 - self.p)
    return out


def wrong_none_not_expected(self, dy, cache):
    """Fails if nothing was dropped and the cache is None."""
    return cache * dy


def wrong_scaled_twice(self, dy, cache):
    """The factor 1 / (1 - p) is applied again; the mask contains it already."""
    if cache is None:
        return dy
    return dy * cache / (1 - self.p)


def wrong_not_scaled(self, dy, cache):
    """Only the zeros of the mask are used: the factor 1 / (1 - p) is missing."""
    if cache is None:
        return dy
    dx = dy.copy()
    dx[cache == 0] = 0
    return dx


def wrong_in_place(self, dy, cache):
    """dy *= mask changes the caller's dy."""
    if cache is not None:
        dy *= cache
    return dy


def wrong_passes_dy_on(self, dy, cache):
    """dy passes unchanged, as if dropout had no effect on the gradient."""
    return dy


def wrong_inverted_mask(self, dy, cache):
    """The gradient goes to the numbers that were dropped, not to those that were kept."""
    if cache is None:
        return dy
    return np.where(cache == 0, dy / (1 - self.p), 0).astype(dy.dtype)


def wrong_zero_in_probe(self, dy, cache):
    """Without a mask nothing passes, where everything must."""
    if cache is None:
        return np.zeros_like(dy)
    return dy * cache


def wrong_scaled_in_probe(self, dy, cache):
    """After a pass without dropout dy is scaled by 1 - p."""
    return dy * (1 - self.p) if cache is None else dy * cache


def wrong_divides_by_mask(self, dy, cache):
    """Divides by the mask, as if it were undone on the way back."""
    if cache is None:
        return dy
    return np.divide(dy, cache, out=np.zeros_like(dy), where=cache > 0)
