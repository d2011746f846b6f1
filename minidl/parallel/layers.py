"""Layers that work on a rank's part of a batch as if they had the whole batch. Outside of a shared training step they
are the layers they were made from, with the same Parameters, buffers and names.
"""

from __future__ import annotations

from typing import Any

from minidl.backend.arrays import Array, array_module
from minidl.engine.blocks.fused import Fused
from minidl.errors import ShapeError, UsageError
from minidl.kernels import kernels_for
from minidl.layers import BatchNorm2D, Dropout, Layer
from minidl.layers.base import Context, Shape
from minidl.layers.frozen import Frozen
from minidl.layers.norm import BatchNormCache
from minidl.layers.tree import rebuilt
from minidl.parallel.runner import RankRunner
from minidl.parallel.share import Share


class SyncBatchNorm2D(BatchNorm2D):
    """BatchNorm2D whose mean and variance are those of the whole batch, over all ranks.

    Rank r has m_r of the M numbers of a channel, with mean_r and the sum M2_r of squared deviations from it. Then
    (Chan, Golub & LeVeque 1979)

        M = sum m_r,    mean = (1/M) sum m_r mean_r,    var = (1/M) sum (M2_r + m_r (mean_r - mean)^2).

    Backward: dgamma and dbeta are this rank's sums, which are added up over ranks with all other gradients. dx needs
    the sums of all ranks: dx = gamma inv_std (dy - dbeta/M - xhat dgamma/M), as in `layers/norm.py`.
    """

    def __init__(self, layer: BatchNorm2D, share: Share) -> None:
        self.eps, self.momentum = layer.eps, layer.momentum
        self.params, self.buffers, self.share = layer.params, layer.buffers, share

    def _batch_moments(self, x: Array, running_mean: Array, running_var: Array) -> tuple[Array, Array]:
        if not self.share.images:
            return super()._batch_moments(x, running_mean, running_var)
        xp, kernels = array_module(x), kernels_for(x)
        mean, var = kernels.batch_statistics(x)
        m, pixels = self._counts(x)
        if pixels < 2:
            raise ShapeError(f"{self.label}: training needs more than one value per channel, got {pixels}")
        parts = self.share.comm.allgather(xp.stack([xp.full_like(mean, m), mean, m * var])[None])  # (R, 3, C)
        m, mean, m2 = (parts[:, i] for i in range(3))  # each (R, C)
        center = (m * mean).sum(axis=0) / pixels
        var = (m2 + m * (mean - center) ** 2).sum(axis=0) / pixels
        unbias = pixels / (pixels - 1)
        return kernels.batch_norm_moments(center, var, running_mean, running_var, self.momentum, unbias, self.eps)

    def backward(self, dy: Array, cache: BatchNormCache, need_dx: bool = True) -> Array | None:
        if not (self.share.images and cache.training):
            return super().backward(dy, cache, need_dx)
        gamma, beta = self.params["gamma"], self.params["beta"]
        kernels = kernels_for(dy)
        own = kernels.batch_norm_sums(dy, cache.x, cache.mean, cache.inv_std)
        gamma.grad += own[0]
        beta.grad += own[1]
        if not need_dx:
            return None
        m, M = self._counts(cache.x)
        sums = array_module(dy).stack(own)
        self.share.comm.allreduce(sums)
        # The kernel divides by m, the numbers that are here.
        dgamma, dbeta = sums * (m / M)
        return kernels.batch_norm_dx(dy, cache.x, cache.mean, cache.inv_std, gamma.value, dgamma, dbeta)

    def _counts(self, x: Array) -> tuple[int, int]:
        """The numbers of a channel in this rank's part x of the batch, and in the whole batch."""
        m = x.size // x.shape[-1]
        return m, m // len(x) * self.share.images


class RankDropout(Dropout):
    """Dropout whose mask is this rank's part of the mask that the whole batch would have."""

    def __init__(self, layer: Dropout, share: Share) -> None:
        self.p, self.share = layer.p, share

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Array | None]:
        if not (self.share.images and ctx.training and self.p):
            return super().forward(x, ctx)
        ones = array_module(x).ones((self.share.images, *x.shape[1:]), x.dtype)
        mask = super().forward(ones, ctx)[1][self.share.rows]
        return x * mask, mask


class Whole(Layer):
    """The layer `inner` on the whole batch, which every rank gathers: in the same bits on any number of ranks.

    Its gradients are the same on every rank. Only rank 0 adds them, because those of all ranks are added up
    afterwards.
    """

    wiring = "chain"
    unnamed = frozenset({"inner"})

    def __init__(self, inner: Layer, share: Share) -> None:
        self.inner, self.share = inner, share

    def out_shape(self, in_shape: Shape) -> Shape:
        return self.inner.out_shape(in_shape)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Any]:
        if not self.share.images:
            return ctx.run("", self.inner, x)
        x, rows = self.share.comm.allgather(x), self.share.rows
        with self.share.of(0):
            y, cache = ctx.run("", self.inner, x)
        return y[rows], cache

    def backward(self, dy: Array, cache: Any, need_dx: bool = True) -> Array | None:
        if not self.share.images:
            return self.inner.backward(dy, cache, need_dx)
        dy = self.share.comm.allgather(dy)
        params = self.inner.named_parameters().values() if self.share.comm.rank else ()
        before = [p.grad.copy() for p in params]
        with self.share.of(0):  # backward, not input_grad: a layer may round otherwise there, or have none
            dx = self.inner.backward(dy, cache, need_dx)
        for p, grad in zip(params, before, strict=True):
            p.grad[...] = grad
        return dx[self.share.rows] if need_dx else None

    def input_grad(self, dy: Array, cache: Any) -> Array:
        return self.inner.input_grad(dy, cache)


def sharing(model: Layer, share: Share, sync_bn: bool, exact: bool) -> Layer:
    """`model` for training steps that ranks share: a new tree with the same composites, Parameters, buffers, names.

    sync_bn    plain batch normalizations take the statistics of the whole batch
    exact      all layers that are in no composite of the fused engine work on the whole batch
    """
    if isinstance(model, Fused):
        if exact or (sync_bn and share.comm.size > 1):
            _require_runner(model, share, exact)
        return model
    children = model.children()
    if exact and (not children or isinstance(model, Frozen)):
        return Whole(model, share)
    if isinstance(model, BatchNorm2D) and sync_bn:
        return SyncBatchNorm2D(model, share)
    if isinstance(model, Dropout):
        return RankDropout(model, share)
    if not children:
        return model
    return rebuilt(model, {name: sharing(child, share, sync_bn, exact) for name, child in children.items()})


def _require_runner(model: Fused, share: Share, exact: bool) -> None:
    runner = model.runner
    if not (isinstance(runner, RankRunner) and runner.share is share and runner.by_shard == exact):
        raise UsageError(
            f"{model.label}: is on the fused engine without what its ranks need: "
            f"prepare(model, threads, RankRunner(threads, share, exact={exact})) with this share"
        )
