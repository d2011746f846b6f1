"""The linear (fully connected) layer, and the flattening before it."""

from __future__ import annotations

import math

import numpy as np

from minidl.backend.arrays import Array, array_module
from minidl.kernels.shapes import require_channels, require_flags, require_float, require_rank, require_sizes
from minidl.layers.base import Context, Layer, Parameter, Shape
from minidl.layers.init import he_normal


class Linear(Layer):
    """y = x @ w + b.

    Shapes: x (N, D), weight w (D, K), bias b (K,), y (N, K).

    Backward, from y[n,k] = b[k] + sum over d of x[n,d] w[d,k]:
        dw[d,k] = sum over n of x[n,d] dy[n,k]     dw = x.T @ dy
        db[k]   = sum over n of dy[n,k]            db = dy.sum(axis=0)
        dx[n,d] = sum over k of dy[n,k] w[d,k]     dx = dy @ w.T

    Raises ShapeError if x is not (N, D). Weights start as normal numbers with standard deviation 1 / sqrt(D).
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        rng: np.random.Generator | int | None = None,
        dtype: type = np.float32,
    ) -> None:
        require_sizes("Linear", in_features=in_features, out_features=out_features)
        require_flags("Linear", bias=bias)
        # No ReLU follows the last layer, so the variance is 1 / D. He's is 2 / fan_in, hence fan_in = 2 D.
        w = he_normal(np.random.default_rng(rng), (in_features, out_features), fan_in=2 * in_features, dtype=dtype)
        self.params["weight"] = Parameter(w, tags=["weight"])
        if bias:
            self.params["bias"] = Parameter(np.zeros(out_features, dtype), tags=["bias"])

    def out_shape(self, in_shape: Shape) -> Shape:
        require_rank(self.label, in_shape, 2, "(N, D)")
        d, k = self.params["weight"].shape
        require_channels(self.label, in_shape, d)
        return in_shape[0], k

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Array | None]:
        self.out_shape(x.shape)
        require_float(self.label, x)
        y = x @ self.params["weight"].value
        if "bias" in self.params:
            y += self.params["bias"].value
        return y, (x if ctx.keeps_cache else None)

    def backward(self, dy: Array, cache: Array, need_dx: bool = True) -> Array | None:
        self.params["weight"].grad += cache.T @ dy
        if "bias" in self.params:
            self.params["bias"].grad += dy.sum(axis=0)
        return self.input_grad(dy, cache) if need_dx else None

    def input_grad(self, dy: Array, cache: Array) -> Array:
        return dy @ self.params["weight"].value.T

    def __repr__(self) -> str:
        return "Linear({} -> {})".format(*self.params["weight"].shape)


class Flatten(Layer):
    """(N, ...) -> (N, D): joins all axes but the first into one, in memory order (H, then W, then C).

    channels_first: in the order C, then H, then W, which is torch's. The Linear after it then has torch's rows.

    Backward: dx is dy, each number back in its place.
    """

    def __init__(self, channels_first: bool = False) -> None:
        require_flags("Flatten", channels_first=channels_first)
        self.channels_first = bool(channels_first)

    def out_shape(self, in_shape: Shape) -> Shape:
        return in_shape[0], math.prod(in_shape[1:])

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Shape | None]:
        ordered = array_module(x).moveaxis(x, -1, 1) if self.channels_first else x  # (N, H, W, C) -> (N, C, H, W)
        y = ordered.reshape(self.out_shape(x.shape))  # (N, H, W, C) -> (N, H W C), or (N, C, H, W) -> (N, C H W)
        return y, (x.shape if ctx.keeps_cache else None)

    def input_grad(self, dy: Array, cache: Shape) -> Array:
        if not self.channels_first:
            return dy.reshape(cache)  # (N, H W C) -> (N, H, W, C)
        n, *sides, c = cache
        xp = array_module(dy)
        return xp.ascontiguousarray(xp.moveaxis(dy.reshape(n, c, *sides), 1, -1))  # (N, C, H, W) -> (N, H, W, C)

    def __repr__(self) -> str:
        return "Flatten(channels_first)" if self.channels_first else "Flatten()"
