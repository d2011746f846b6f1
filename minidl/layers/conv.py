"""The convolution layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from minidl.backend.arrays import Array
from minidl.errors import ShapeError
from minidl.kernels import kernels_for
from minidl.kernels.shapes import (
    one_number,
    require_channels,
    require_flags,
    require_float,
    require_no_more,
    require_rank,
    require_sizes,
    window_out_shape,
)
from minidl.layers.base import Context, Layer, Parameter, Shape
from minidl.layers.init import he_normal

GENERAL = 'GeneralConv2D takes pairs, padding="same", dilation and groups'


class Conv2D(Layer):
    """Slides `filters` square filters over an image (a cross-correlation in mathematics, called convolution here).

    Shapes: x (N, H, W, C), weight w (KH, KW, C, F), bias b (F,), y (N, OH, OW, F) with
    OH = floor((H + 2 p - KH) / s) + 1, and OW alike, for stride s and zero padding p.

    Forward:   y[n,oh,ow,f] = b[f] + sum over kh,kw,c of  x[n, s oh + kh - p, s ow + kw - p, c]  w[kh,kw,c,f]

    Backward: each y is a sum of products x w. So dL/dw collects dy times the x beside that w, dL/dx collects dy times
    the w beside that x, and dL/db collects dy alone:
        db[f]          = sum over n,oh,ow of  dy[n,oh,ow,f]
        dw[kh,kw,c,f]  = sum over n,oh,ow of  x[n, s oh + kh - p, s ow + kw - p, c]  dy[n,oh,ow,f]
        dx[n,i,j,c]    = sum over kh,kw,f of  w[kh,kw,c,f]  dy[n,oh,ow,f],  over the windows (oh, ow) that
                         contain the pixel (i, j): s oh + kh - p = i  and  s ow + kw - p = j
    `minidl/kernels/reference.py` does these sums as matrix products: y = patches @ w, dw = patches.T @ dy, and
    dpatches = dy @ w.T. For NumPy arrays `minidl/kernels/blocked.py` does the same in blocks of images. With
    stride 1, and unless there are many more filters than channels, it computes dx as one more convolution.

    Raises ShapeError if the channels differ or the window does not fit, UsageError for windows that are not square.
    Weights start as He normal (He et al. 2015).
    Source: LeCun et al., Gradient-based learning applied to document recognition, 1998, section II.
    """

    def __init__(
        self,
        in_channels: int,
        filters: int,
        kernel: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        bias: bool = True,
        rng: np.random.Generator | int | None = None,
        dtype: type = np.float32,
        **more: Any,
    ) -> None:
        require_no_more("Conv2D", more, GENERAL)
        kernel, stride, padding = (
            one_number("Conv2D", name, value, GENERAL)
            for name, value in (("kernel", kernel), ("stride", stride), ("padding", padding))
        )
        require_sizes("Conv2D", in_channels=in_channels, filters=filters)
        require_flags("Conv2D", bias=bias)
        if min(kernel, stride) < 1 or padding < 0:
            raise ShapeError(
                f"Conv2D: kernel {kernel} and stride {stride} must be at least 1, padding {padding} at least 0"
            )
        self.stride, self.padding = stride, padding
        shape = (kernel, kernel, in_channels, filters)
        w = he_normal(np.random.default_rng(rng), shape, fan_in=kernel * kernel * in_channels, dtype=dtype)
        self.params["weight"] = Parameter(w, tags=["weight"])
        if bias:
            self.params["bias"] = Parameter(np.zeros(filters, dtype), tags=["bias"])

    def out_shape(self, in_shape: Shape) -> Shape:
        require_rank(self.label, in_shape, 4, "(N, H, W, C)")
        kh, kw, c, f = self.params["weight"].shape
        require_channels(self.label, in_shape, c)
        return (*window_out_shape(self.label, in_shape, (kh, kw), self.stride, self.padding)[:3], f)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Array | None]:
        self.out_shape(x.shape)
        require_float(self.label, x)
        y = kernels_for(x).conv2d(x, self.params["weight"].value, self.stride, self.padding)
        if "bias" in self.params:
            y += self.params["bias"].value
        return y, (x if ctx.keeps_cache else None)

    def backward(self, dy: Array, cache: Array, need_dx: bool = True) -> Array | None:
        x, w = cache, self.params["weight"]
        w.grad += kernels_for(x).conv2d_dw(x, dy, w.shape, self.stride, self.padding)
        if "bias" in self.params:
            self.params["bias"].grad += dy.sum(axis=(0, 1, 2))
        return self.input_grad(dy, cache) if need_dx else None

    def input_grad(self, dy: Array, cache: Array) -> Array:
        w = self.params["weight"].value
        return kernels_for(dy).conv2d_dx(dy, w, cache.shape, self.stride, self.padding)

    def __repr__(self) -> str:
        kh, kw, c, f = self.params["weight"].shape
        return f"Conv2D({c} -> {f}, {kh}x{kw}, stride {self.stride}, padding {self.padding})"
