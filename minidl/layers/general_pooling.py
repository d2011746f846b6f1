"""The pools with all options: another window on each axis, a last window that hangs over, what counts as a pixel."""

from __future__ import annotations

from minidl.backend.arrays import Array
from minidl.errors import ShapeError
from minidl.kernels.general.sets import general_kernels_for
from minidl.kernels.general.window import Window, ceil_padding, pair, shown
from minidl.kernels.shapes import MAX_POOL_WINDOW, require_flags, require_float, require_rank
from minidl.layers.base import Context, Layer, Rule, Shape, as_rule
from minidl.layers.general_conv import Sizes
from minidl.layers.pooling import MaxPoolCache


class _GeneralPool2D(Layer):
    """Slides a window over every channel separately."""

    def __init__(
        self, kernel: Sizes, stride: Sizes | None = None, padding: Sizes = 0, ceil_mode: bool = False
    ) -> None:
        self.kernel = pair(self.label, "kernel", kernel, least=1)
        self.stride = self.kernel if stride is None else pair(self.label, "stride", stride, least=1)
        self.padding = pair(self.label, "padding", padding, least=0)
        require_flags(self.label, ceil_mode=ceil_mode)
        self.ceil_mode = bool(ceil_mode)
        if any(2 * p > k for p, k in zip(self.padding, self.kernel, strict=True)):
            raise ShapeError(f"{self.label}: padding {padding} is more than half of the kernel {kernel}")

    def window(self, in_shape: Shape) -> Window:
        """Where the windows lie on an image of an input (N, H, W, C)."""
        require_rank(self.label, in_shape, 4, "(N, H, W, C)")
        rows, columns = ((p, p) for p in self.padding)
        if self.ceil_mode:
            rows, columns = map(ceil_padding, in_shape[1:3], self.kernel, self.stride, self.padding)
        return Window(self.kernel, self.stride, (rows, columns))

    def out_shape(self, in_shape: Shape) -> Shape:
        return self.window(in_shape).out_shape(self.label, in_shape)

    def __repr__(self) -> str:
        kh, kw = self.kernel
        text = f"{type(self).__name__}({kh}x{kw}, stride {shown(self.stride)}, padding {shown(self.padding)}"
        return f"{text}{', ceil_mode' if self.ceil_mode else ''})"


class GeneralMaxPool2D(_GeneralPool2D):
    """MaxPool2D with the options that it leaves out. Of each size: one number, or a pair (rows, columns).

    ceil_mode  the number of windows is rounded up: the last window may hang over the bottom or the right. A window
               that would start beyond the last pixel is left out (as in torch).

    Shapes: x (N, H, W, C), y (N, OH, OW, C), OH = floor((H + 2 p - KH) / s) + 1, or ceil(...) + 1; OW alike.

    Forward:   y[n,oh,ow,c] = the maximum of the window; padding, and what hangs over, is -inf. Of equal ones the
               first in reading order counts, and a NaN counts as larger than every number
    Backward:  dx[n,h,w,c]  = sum of dy[n,oh,ow,c] over the windows whose maximum lies at (h, w)
    Projection: the deconvnet's unpooling, as in MaxPool2D. `rule.unpool` says what a shared maximum receives.

    Raises ShapeError if the window does not fit, has more than 256 pixels, or is padded by more than half its size.
    Source: as MaxPool2D; ceil_mode is how Caffe and the GoogLeNet of Szegedy et al. 2015 count windows.
    """

    def __init__(
        self, kernel: Sizes, stride: Sizes | None = None, padding: Sizes = 0, ceil_mode: bool = False
    ) -> None:
        super().__init__(kernel, stride, padding, ceil_mode)
        kh, kw = self.kernel
        if kh * kw > MAX_POOL_WINDOW:
            raise ShapeError(f"{self.label}: a {kh}x{kw} window has more than {MAX_POOL_WINDOW} pixels")

    def forward(self, x: Array, ctx: Context) -> tuple[Array, MaxPoolCache | None]:
        require_float(self.label, x)
        self.out_shape(x.shape)
        y, index = general_kernels_for(x).max_pool(x, self.window(x.shape))
        return y, (MaxPoolCache(index, x.shape) if ctx.keeps_cache else None)

    def input_grad(self, dy: Array, cache: MaxPoolCache) -> Array:
        return general_kernels_for(dy).max_pool_dx(dy, cache.index, cache.x_shape, self.window(cache.x_shape))

    def project(self, s: Array, cache: MaxPoolCache, rule: Rule | str) -> Array:
        rule = as_rule(rule)
        overlap = rule.unpool if rule.name == "deconv" else "sum"
        return general_kernels_for(s).max_pool_dx(s, cache.index, cache.x_shape, self.window(cache.x_shape), overlap)


class GeneralAvgPool2D(_GeneralPool2D):
    """AvgPool2D with the options that it leaves out. Of each size: one number, or a pair (rows, columns).

    ceil_mode          as in GeneralMaxPool2D
    count_include_pad  whether the padding p counts as pixels of value 0. What hangs over with ceil_mode never counts.

    Shapes as in GeneralMaxPool2D.

    Forward:   y[n,oh,ow,c] = (1 / m(oh,ow)) sum over the window of x, where m is the number of its pixels that count:
               those of the image, and of the padding if count_include_pad
    Backward:  dx[n,h,w,c]  = sum of dy[n,oh,ow,c] / m(oh,ow) over the windows that contain (h, w)

    Raises ShapeError if the window does not fit, or is padded by more than half its size.
    Source: torch.nn.AvgPool2d, whose rules these are.
    """

    def __init__(
        self,
        kernel: Sizes,
        stride: Sizes | None = None,
        padding: Sizes = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
    ) -> None:
        super().__init__(kernel, stride, padding, ceil_mode)
        require_flags(self.label, count_include_pad=count_include_pad)
        self.count_include_pad = bool(count_include_pad)

    @property
    def _counted(self) -> tuple[int, int]:
        return self.padding if self.count_include_pad else (0, 0)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Shape | None]:
        require_float(self.label, x)
        self.out_shape(x.shape)
        y = general_kernels_for(x).avg_pool(x, self.window(x.shape), self._counted)
        return y, (x.shape if ctx.keeps_cache else None)

    def input_grad(self, dy: Array, cache: Shape) -> Array:
        return general_kernels_for(dy).avg_pool_dx(dy, cache, self.window(cache), self._counted)

    def __repr__(self) -> str:
        return super().__repr__()[:-1] + ("" if self.count_include_pad else ", padding not counted") + ")"
