"""Pooling layers: the maximum or the mean of every window, and the mean of a whole map."""

from __future__ import annotations

from typing import Any, NamedTuple

from minidl.backend.arrays import Array, array_module
from minidl.errors import ShapeError
from minidl.kernels import kernels_for
from minidl.kernels.general.window import Window, square
from minidl.kernels.shapes import (
    MAX_POOL_WINDOW,
    one_number,
    require_float,
    require_no_more,
    require_rank,
    require_window,
    window_out_shape,
)
from minidl.layers.base import Context, Layer, Rule, Shape, as_rule


class _Pool2D(Layer):
    """Slides a square window over every channel separately."""

    general = "GeneralMaxPool2D and GeneralAvgPool2D take pairs and ceil_mode, the latter also count_include_pad"

    def __init__(self, kernel: int, stride: int | None = None, padding: int = 0, **more: Any) -> None:
        require_no_more(self.label, more, self.general)
        geometry = {"kernel": kernel, "stride": kernel if stride is None else stride, "padding": padding}
        self.kernel, self.stride, self.padding = (
            one_number(self.label, name, value, self.general) for name, value in geometry.items()
        )
        require_window(self.label, self.kernel, self.stride, self.padding)

    @property
    def _geometry(self) -> tuple[int, int, int]:
        return self.kernel, self.stride, self.padding

    def window(self, in_shape: Shape) -> Window:
        """Where the windows lie, as a general pool says it."""
        return square(*self._geometry)

    def out_shape(self, in_shape: Shape) -> Shape:
        return window_out_shape(self.label, in_shape, (self.kernel, self.kernel), self.stride, self.padding)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.kernel}x{self.kernel}, stride {self.stride}, padding {self.padding})"


class MaxPoolCache(NamedTuple):
    index: Array  # uint8 (N, OH, OW, C): where in its window the maximum lies, kh K + kw
    x_shape: Shape


class MaxPool2D(_Pool2D):
    """The largest value of every window. Padding is -inf, so it is never the largest.

    Shapes: x (N, H, W, C), y (N, OH, OW, C), OH = floor((H + 2 p - K) / s) + 1.

    Forward:   y[n,oh,ow,c] = the maximum of the window; of equal ones the first in reading order counts (as argmax),
               and a NaN counts as larger than every number
    Backward:  dx[n,h,w,c]  = sum of dy[n,oh,ow,c] over the windows whose maximum lies at (h, w)
               A y depends on the maximum alone, so no other pixel of the window receives anything. Windows that
               overlap may share their maximum, hence the sum: the pixel receives dy from each of them.
    Projection: the deconvnet's unpooling. `rule.unpool` says what a shared maximum receives.

    Raises ShapeError if the window does not fit, has more than 256 pixels, or is padded by more than half its size.
    Source: Zeiler & Fergus, Visualizing and understanding convolutional networks, 2013, section 2.1.
    """

    def __init__(self, kernel: int, stride: int | None = None, padding: int = 0, **more: Any) -> None:
        super().__init__(kernel, stride, padding, **more)
        if self.kernel**2 > MAX_POOL_WINDOW:
            raise ShapeError(
                f"MaxPool2D: a {self.kernel}x{self.kernel} window has more than {MAX_POOL_WINDOW} pixels"
            )

    def forward(self, x: Array, ctx: Context) -> tuple[Array, MaxPoolCache | None]:
        require_float(self.label, x)
        self.out_shape(x.shape)
        y, index = kernels_for(x).max_pool(x, *self._geometry)
        return y, (MaxPoolCache(index, x.shape) if ctx.keeps_cache else None)

    def input_grad(self, dy: Array, cache: MaxPoolCache) -> Array:
        return kernels_for(dy).max_pool_dx(dy, cache.index, cache.x_shape, *self._geometry)

    def project(self, s: Array, cache: MaxPoolCache, rule: Rule | str) -> Array:
        rule = as_rule(rule)
        overlap = rule.unpool if rule.name == "deconv" else "sum"
        return kernels_for(s).max_pool_dx(s, cache.index, cache.x_shape, *self._geometry, overlap)


class AvgPool2D(_Pool2D):
    """The mean of every window. Padding counts as pixels with value 0: the sum is always divided by K^2.

    Shapes as in MaxPool2D.

    Forward:   y[n,oh,ow,c] = (1 / K^2) sum over kh,kw of x[n, s oh + kh - p, s ow + kw - p, c]
    Backward:  dx[n,h,w,c]  = (1 / K^2) sum of dy[n,oh,ow,c] over the windows that contain (h, w)

    Raises ShapeError if the window does not fit, or is padded by more than half its size.
    """

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Shape | None]:
        require_float(self.label, x)
        self.out_shape(x.shape)
        return kernels_for(x).avg_pool(x, *self._geometry), (x.shape if ctx.keeps_cache else None)

    def input_grad(self, dy: Array, cache: Shape) -> Array:
        return kernels_for(dy).avg_pool_dx(dy, cache, *self._geometry)


class GlobalAvgPool(Layer):
    """The mean of every channel over the whole map: (N, H, W, C) -> (N, C).

    Forward:   y[n,c] = (1 / HW) sum over h,w of x[n,h,w,c]
    Backward:  dx[n,h,w,c] = dy[n,c] / HW

    Raises ShapeError unless the input has four axes. Source: Lin et al., Network in network, 2014, section 3.2.
    """

    def out_shape(self, in_shape: Shape) -> Shape:
        require_rank(self.label, in_shape, 4, "(N, H, W, C)")
        return in_shape[0], in_shape[3]

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Shape | None]:
        require_float(self.label, x)
        self.out_shape(x.shape)
        return x.mean(axis=(1, 2)), (x.shape if ctx.keeps_cache else None)

    def input_grad(self, dy: Array, cache: Shape) -> Array:
        n, h, w, c = cache
        share = (dy * (1 / (h * w))).reshape(n, 1, 1, c)  # (N, C) -> (N, 1, 1, C)
        return array_module(dy).broadcast_to(share, cache).copy()
