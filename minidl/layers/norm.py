"""Batch normalization."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from minidl.backend.arrays import Array, array_module
from minidl.errors import ShapeError
from minidl.kernels import kernels_for
from minidl.kernels.shapes import require_channels, require_float, require_numbers, require_sizes
from minidl.layers.base import Context, Layer, Parameter, Rule, Shape, as_rule


class BatchNormCache(NamedTuple):
    x: Array  # the input
    mean: Array  # (C,): the batch's in TRAIN mode, the running mean in PROBE mode
    inv_std: Array  # (C,)
    training: bool


class BatchNorm2D(Layer):
    """Brings every channel to mean 0 and variance 1, then multiplies by gamma and adds beta, which are learned.

    Shapes: x (..., C), gamma and beta (C,). All sums run over the M = N H W numbers of a channel.

    Forward, TRAIN:   mean = (1/M) sum x,   var = (1/M) sum (x - mean)^2,
                      xhat = (x - mean) / sqrt(var + eps),   y = gamma xhat + beta,
                      running_mean += momentum (mean - running_mean),
                      running_var  += momentum (M/(M-1) var - running_var)      (unbiased, as in torch)
    Forward, PROBE and INFER: the running mean and variance take the place of the batch's.

    Backward, with inv_std = 1 / sqrt(var + eps) and dxhat = dL/dxhat = gamma dy:
        dbeta = sum dy,    dgamma = sum dy xhat
        PROBE: mean and var are constants, so  dx = dxhat inv_std.
        TRAIN: x reaches y in three ways, and dx is the sum of three gradients:
            1. directly              dxhat inv_std
            2. through the variance  dvar  = sum dxhat (x - mean) (-1/2) inv_std^3,   and each x receives
                                     dvar 2 (x - mean) / M  =  -gamma inv_std xhat dgamma / M
            3. through the mean      dmean = -inv_std sum dxhat,                      and each x receives
                                     dmean / M              =  -gamma inv_std dbeta / M
               (the variance depends on the mean too, but dvar/dmean = -2/M sum (x - mean) = 0)
            together:  dx = gamma inv_std (dy - dbeta/M - xhat dgamma/M)
        Example: x = [1, 2, 3], gamma = 1, eps = 0, dy = [1, 0, 0] gives dx = [0.204, -0.408, 0.204].

    Raises ShapeError if the channels differ, or in TRAIN mode for a single number per channel, which has no
    variance. Source: Ioffe & Szegedy, Batch Normalization, 2015, Algorithm 1 and section 3.
    """

    def __init__(self, channels: int, eps: float = 1e-5, momentum: float = 0.1, dtype: type = np.float32) -> None:
        require_sizes("BatchNorm2D", channels=channels)
        require_numbers("BatchNorm2D", eps=eps, momentum=momentum)
        self.eps, self.momentum = eps, momentum
        self.params["gamma"] = Parameter(np.ones(channels, dtype), tags=["norm"])
        self.params["beta"] = Parameter(np.zeros(channels, dtype), tags=["norm"])
        self.buffers["running_mean"] = np.zeros(channels, dtype)
        self.buffers["running_var"] = np.ones(channels, dtype)

    def out_shape(self, in_shape: Shape) -> Shape:
        require_channels(self.label, in_shape, self.params["gamma"].size)
        return in_shape

    def forward(self, x: Array, ctx: Context) -> tuple[Array, BatchNormCache | None]:
        self.out_shape(x.shape)
        require_float(self.label, x)
        running_mean, running_var = self.buffers["running_mean"], self.buffers["running_var"]
        if ctx.training:
            mean, inv_std = self._batch_moments(x, running_mean, running_var)
        else:
            mean = running_mean.astype(x.dtype)
            inv_std = (1 / array_module(x).sqrt(running_var + self.eps)).astype(x.dtype)
        y = kernels_for(x).batch_norm(x, mean, inv_std, self.params["gamma"].value, self.params["beta"].value)
        return y, (BatchNormCache(x, mean, inv_std, ctx.training) if ctx.keeps_cache else None)

    def _batch_moments(self, x: Array, running_mean: Array, running_var: Array) -> tuple[Array, Array]:
        m = x.size // x.shape[-1]
        if m < 2:
            raise ShapeError(f"{self.label}: training needs more than one value per channel, got shape {x.shape}")
        kernels = kernels_for(x)
        mean, var = kernels.batch_statistics(x)
        return kernels.batch_norm_moments(mean, var, running_mean, running_var, self.momentum, m / (m - 1), self.eps)

    def backward(self, dy: Array, cache: BatchNormCache, need_dx: bool = True) -> Array | None:
        gamma, beta = self.params["gamma"], self.params["beta"]
        kernels = kernels_for(dy)
        dgamma, dbeta = kernels.batch_norm_sums(dy, cache.x, cache.mean, cache.inv_std)
        gamma.grad += dgamma
        beta.grad += dbeta
        if not need_dx:
            return None
        if not cache.training:
            return self.input_grad(dy, cache)
        return kernels.batch_norm_dx(dy, cache.x, cache.mean, cache.inv_std, gamma.value, dgamma, dbeta)

    def input_grad(self, dy: Array, cache: BatchNormCache) -> Array:
        gamma = self.params["gamma"].value
        if not cache.training:
            return dy * (gamma * cache.inv_std)
        kernels = kernels_for(dy)
        dgamma, dbeta = kernels.batch_norm_sums(dy, cache.x, cache.mean, cache.inv_std)
        return kernels.batch_norm_dx(dy, cache.x, cache.mean, cache.inv_std, gamma, dgamma, dbeta)

    def project(self, s: Array, cache: Any, rule: Rule | str) -> Array:
        rule = as_rule(rule)
        if rule.name == "deconv" and rule.bn == "skip":
            return s
        return self.input_grad(s, cache)

    def __repr__(self) -> str:
        return f"BatchNorm2D({self.params['gamma'].size})"
