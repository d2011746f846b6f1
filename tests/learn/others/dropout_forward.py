"""Right and wrong answers of learners to the exercise dropout_forward."""

import numpy as np


def right_where(self, x, ctx):
    if ctx.training and self.p > 0:
        u = ctx.rng().random(x.shape, dtype=np.float32)
        mask = np.where(u < self.p, 0.0, 1.0 / (1.0 - self.p)).astype(x.dtype)
        return x * mask, mask
    return x, None


def right_filled_mask(self, x, ctx):
    if self.p == 0 or not ctx.training:
        return x, None
    mask = np.full(x.shape, 1 / (1 - self.p), dtype=x.dtype)
    mask[ctx.rng().random(x.shape, dtype=np.float32) < self.p] = 0
    return np.multiply(x, mask), mask


def right_loop(self, x, ctx):
    if not ctx.training:
        return x, None
    if not self.p:
        return x, None
    numbers = ctx.rng().random(x.shape, dtype=np.float32)
    mask, y = np.zeros(x.shape, x.dtype), np.zeros(x.shape, x.dtype)
    scale = 1 / (1 - self.p)
    for i in np.ndindex(x.shape):
        if numbers[i] >= self.p:
            mask[i] = scale
            y[i] = x[i] * scale
    return y, mask


def right_einsum(self, x, ctx):
    if not (ctx.training and self.p):
        return x, None
    keep = ~(ctx.rng().random(x.shape, dtype=np.float32) < self.p)
    mask = keep / x.dtype.type(1 - self.p)
    return np.einsum("...,...->...", x, mask).astype(x.dtype, copy=False), mask.astype(x.dtype, copy=False)


def wrong_not_scaled(self, x, ctx):
    """The numbers that stay are not multiplied by 1 / (1 - p)."""
    if not ctx.training or self.p == 0:
        return x, None
    mask = (ctx.rng().random(x.shape, dtype=np.float32) >= self.p).astype(x.dtype)
    return x * mask, mask


def wrong_p_is_kept(self, x, ctx):
    """p is taken for the share that is kept (CS231n's meaning), not for the share that is dropped."""
    if not ctx.training or self.p == 0:
        return x, None
    r = ctx.rng().random(x.shape, dtype=np.float32)
    mask = (r < self.p).astype(x.dtype) / x.dtype.type(self.p)
    return x * mask, mask


def wrong_divided_by_p(self, x, ctx):
    """Multiplies by 1 / p instead of 1 / (1 - p)."""
    if ctx.training and self.p > 0:
        mask = np.zeros_like(x)
        mask[ctx.rng().random(x.shape, dtype=np.float32) >= self.p] = 1 / self.p
        return mask * x, mask
    return x, None


def wrong_drops_in_every_mode(self, x, ctx):
    """Drops in PROBE and INFER passes too."""
    if self.p == 0:
        return x, None
    rng = np.random.default_rng(0) if ctx.step is None else ctx.rng()
    mask = (rng.random(x.shape, dtype=np.float32) >= self.p).astype(x.dtype) * (1 / (1 - self.p))
    return x * mask, mask


def wrong_scaled_at_test_time(self, x, ctx):
    """Old dropout: no scaling in training, and y = x (1 - p) in the other modes."""
    if not ctx.training:
        return x * (1 - self.p), None
    if not self.p:
        return x, None
    m = (ctx.rng().random(x.shape, dtype=np.float32) >= self.p).astype(x.dtype)
    return x * m, m


def wrong_whole_channels(self, x, ctx):
    """One random number for each channel of an image: whole maps are dropped (Dropout2d)."""
    if not ctx.training or self.p == 0:
        return x, None
    shape = (x.shape[0],) + (1,) * (x.ndim - 2) + (x.shape[-1],)
    keep = ctx.rng().random(shape, dtype=np.float32) >= self.p
    mask = np.broadcast_to(keep / (1 - self.p), x.shape).astype(x.dtype)
    return x * mask, mask


def wrong_one_mask_for_the_batch(self, x, ctx):
    """All images of the batch share one mask."""
    if not ctx.training or self.p == 0:
        return x, None
    mask = ctx.rng().random(x.shape[1:], dtype=np.float32) >= self.p
    mask = np.stack([mask] * len(x)).astype(x.dtype) * (1 / (1 - self.p))
    return x * mask, mask


def wrong_own_generator(self, x, ctx):
    """Draws from a new generator each time, so the same step never gives the same mask again."""
    if not ctx.training or self.p == 0:
        return x, None
    rng = np.random.default_rng()
    mask = (rng.random(x.shape) >= self.p) / (1 - self.p)
    mask = mask.astype(x.dtype)
    return x * mask, mask


def wrong_boolean_cache(self, x, ctx):
    """The cache is the mask of zeros and ones, without the factor that the backward pass needs."""
    if not ctx.training or self.p == 0:
        return x, None
    keep = ctx.rng().random(x.shape, dtype=np.float32) >= self.p
    return x * keep * (1 / (1 - self.p)), keep


def wrong_in_place(self, x, ctx):
    """x *= mask changes the caller's x."""
    if not ctx.training or self.p == 0:
        return x, None
    mask = (ctx.rng().random(x.shape, dtype=np.float32) >= self.p).astype(x.dtype)
    mask *= 1 / (1 - self.p)
    x *= mask
    return x, mask


def wrong_mask_first(self, x, ctx):
    """Returns (mask, y) instead of (y, mask)."""
    if not ctx.training or self.p == 0:
        return x, None
    mask = (ctx.rng().random(x.shape, dtype=np.float32) >= self.p).astype(x.dtype) * (1 / (1 - self.p))
    return mask, x * mask
