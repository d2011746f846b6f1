"""Wrong answers to dropout_forward; each says first which diagnosis it must get."""

import numpy as np


def wrong_global_generator(self, x, ctx):
    """typical another generator: a new one in every call"""
    if not ctx.training or self.p == 0:
        return x, None
    mask = np.random.default_rng().binomial(1, 1 - self.p, x.shape) / (1 - self.p)
    return x * mask, mask


def wrong_keeps_p(self, x, ctx):
    """typical p is the probability to keep: a binomial with p"""
    if not ctx.training or self.p == 0:
        return x, None
    mask = ctx.rng().binomial(1, self.p, size=x.shape).astype(x.dtype)
    return x * mask / self.p, mask / self.p


def wrong_zeros_only(self, x, ctx):
    """typical not scaled: sets numbers to zero"""
    if not ctx.training or self.p == 0:
        return x, None
    mask = np.ones_like(x)
    mask[ctx.rng().uniform(size=x.shape) < self.p] = 0
    return np.where(mask == 0, 0, x), mask


def wrong_rows(self, x, ctx):
    """typical whole rows: one mask for all images"""
    if not ctx.training or self.p == 0:
        return x, None
    mask = np.zeros_like(x)
    mask[:, ctx.rng().random(x.shape[1:]) > self.p] = 1 / (1 - self.p)
    return x * mask, mask


def wrong_test_scaling(self, x, ctx):
    """typical scaled afterwards: the dropout of 2014"""
    if ctx.training and self.p > 0:
        mask = ctx.rng().random(x.shape) > self.p
        return x * mask, mask
    return (1 - self.p) * x, None


def wrong_into_x(self, x, ctx):
    """changed: writes zeros into x"""
    if not ctx.training or self.p == 0:
        return x, None
    mask = (ctx.rng().random(x.shape) >= self.p) / (1 - self.p)
    x *= mask
    return x, mask


def wrong_float64(self, x, ctx):
    """float32: a mask in float64 makes everything float64"""
    if not ctx.training or self.p == 0:
        return x, None
    mask = (ctx.rng().random(x.shape) >= self.p) / (1 - self.p)
    return x * mask, mask


def wrong_only_y(self, x, ctx):
    """kind: returns no mask"""
    return x * (ctx.rng().random(x.shape) >= self.p) / (1 - self.p) if ctx.training else x


def wrong_both_scaled(self, x, ctx):
    """typical scaled twice: in training and afterwards"""
    if not ctx.training:
        return x * (1 - self.p), None
    mask = (ctx.rng().random(x.shape) > self.p).astype(x.dtype) / (1 - self.p)
    return x * mask, mask


def wrong_condition(self, x, ctx):
    """typical modes exchanged: a `not` is missing"""
    if ctx.training:
        return x, None
    mask = (ctx.rng().random(x.shape) >= self.p) / (1 - self.p)
    return x * mask, mask


def wrong_single(self, x, ctx):
    """typical one number: random() without a shape"""
    if not ctx.training:
        return x, None
    mask = float(ctx.rng().random() >= self.p) / (1 - self.p)
    return x * mask, mask
