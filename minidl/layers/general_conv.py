"""The convolution with all options: another window on each axis, dilation, "same" padding, groups of channels."""

from __future__ import annotations

import numpy as np

from minidl.backend.arrays import Array, array_module
from minidl.errors import ShapeError, UsageError
from minidl.kernels.general.sets import general_kernels_for
from minidl.kernels.general.window import Window, pair, same_padding, shown
from minidl.kernels.shapes import require_channels, require_flags, require_float, require_rank, require_sizes
from minidl.layers.base import Context, Layer, Parameter, Shape
from minidl.layers.init import he_normal

Sizes = int | tuple[int, int]  # one number, or (of the rows, of the columns)


class GeneralConv2D(Layer):
    """Conv2D with the options that it leaves out. Of each size: one number, or a pair (rows, columns).

    kernel    KH x KW pixels
    stride    s: from one window to the next
    padding   p: zeros around the image; "same" adds as many as make OH = ceil(H / s), the odd one at the bottom and
              at the right (as in Keras)
    dilation  d: from one pixel of a window to the next, so that a window spans d (K - 1) + 1 pixels
    groups    G: the channels are cut into G equal runs, and so are the filters; a filter sees its own run of channels

    Shapes: x (N, H, W, C), weight w (KH, KW, C/G, F), bias b (F,), y (N, OH, OW, F) with
    OH = floor((H + p before + p after - d (KH - 1) - 1) / s) + 1, and OW alike.

    Forward, with c0(f) = (C/G) floor(f / (F/G)), the first channel that filter f sees:
        y[n,oh,ow,f] = b[f] + sum over kh,kw,c of  x[n, s oh + d kh - p, s ow + d kw - p, c0(f) + c]  w[kh,kw,c,f]
    Each axis has its own s, d and p.

    Backward, as in Conv2D: each y is a sum of products x w, so each factor collects dy times the other one:
        db[f]         = sum over n,oh,ow of  dy[n,oh,ow,f]
        dw[kh,kw,c,f] = sum over n,oh,ow of  x[n, s oh + d kh - p, s ow + d kw - p, c0(f) + c]  dy[n,oh,ow,f]
        dx[n,i,j,c']  = sum over kh,kw,f of  w[kh,kw,c' - c0(f),f]  dy[n,oh,ow,f],  over the filters of the group of
                        c' and the windows with s oh + d kh - p = i  and  s ow + d kw - p = j
    `minidl/kernels/general/reference.py` does these sums as one batch of G matrix products each.

    Raises ShapeError if the channels differ, don't divide into the groups, or the window does not fit.
    Weights start as He normal (He et al. 2015); fan_in = KH KW C/G.
    Sources: LeCun et al. 1998, section II; groups: Krizhevsky et al. 2012, section 3.2, and Xie et al., Aggregated
    residual transformations, 2017, section 3.2; dilation: Yu & Koltun, Multi-scale context aggregation, 2016.
    """

    def __init__(
        self,
        in_channels: int,
        filters: int,
        kernel: Sizes,
        stride: Sizes = 1,
        padding: Sizes | str = 0,
        dilation: Sizes = 1,
        groups: int = 1,
        bias: bool = True,
        rng: np.random.Generator | int | None = None,
        dtype: type = np.float32,
    ) -> None:
        self.kernel, self.stride, self.dilation = (
            pair(self.label, name, value, least=1)
            for name, value in (("kernel", kernel), ("stride", stride), ("dilation", dilation))
        )
        if isinstance(padding, str) and padding != "same":
            raise UsageError(f'{self.label}: padding is {padding!r}, must be a number, a pair or "same"')
        self.padding = padding if padding == "same" else pair(self.label, "padding", padding, least=0)
        require_sizes(self.label, in_channels=in_channels, filters=filters, groups=groups)
        require_flags(self.label, bias=bias)
        if in_channels % groups or filters % groups:
            raise ShapeError(
                f"{self.label}: {in_channels} channels and {filters} filters can't be cut into {groups} groups of "
                "equal size"
            )
        self.groups = groups
        shape = (*self.kernel, in_channels // groups, filters)
        w = he_normal(np.random.default_rng(rng), shape, fan_in=int(np.prod(shape[:3])), dtype=dtype)
        self.params["weight"] = Parameter(w, tags=["weight"])
        if bias:
            self.params["bias"] = Parameter(np.zeros(filters, dtype), tags=["bias"])

    def full_weight(self) -> Array:
        """The filters as those of a single group, (KH, KW, C, F): 0 at the channels that a filter does not see."""
        w, g = self.params["weight"].value, self.groups
        xp, (kh, kw, c, f) = array_module(w), w.shape
        full = xp.zeros((kh, kw, g, c, g, f // g), w.dtype)
        own = xp.arange(g)
        full[:, :, own, :, own] = xp.moveaxis(w.reshape(kh, kw, c, g, f // g), 3, 0)  # (KH, KW, C/G, F) -> (G, ...)
        return full.reshape(kh, kw, g * c, f)

    def window(self, in_shape: Shape) -> Window:
        """Where the windows lie on an image of an input (N, H, W, C)."""
        require_rank(self.label, in_shape, 4, "(N, H, W, C)")
        window = Window(self.kernel, self.stride, ((0, 0), (0, 0)), self.dilation)
        if self.padding == "same":
            top, left = map(same_padding, in_shape[1:3], window.span, self.stride)
        else:
            top, left = ((p, p) for p in self.padding)
        return window._replace(padding=(top, left))

    def out_shape(self, in_shape: Shape) -> Shape:
        window = self.window(in_shape)
        *_, c, f = self.params["weight"].shape
        require_channels(self.label, in_shape, c * self.groups)
        return (*window.out_shape(self.label, in_shape)[:3], f)

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Array | None]:
        self.out_shape(x.shape)
        require_float(self.label, x)
        y = general_kernels_for(x).conv2d(x, self.params["weight"].value, self.window(x.shape))
        if "bias" in self.params:
            y += self.params["bias"].value
        return y, (x if ctx.keeps_cache else None)

    def backward(self, dy: Array, cache: Array, need_dx: bool = True) -> Array | None:
        x, w = cache, self.params["weight"]
        w.grad += general_kernels_for(x).conv2d_dw(x, dy, w.shape, self.window(x.shape))
        if "bias" in self.params:
            self.params["bias"].grad += dy.sum(axis=(0, 1, 2))
        return self.input_grad(dy, cache) if need_dx else None

    def input_grad(self, dy: Array, cache: Array) -> Array:
        w = self.params["weight"].value
        return general_kernels_for(dy).conv2d_dx(dy, w, cache.shape, self.window(cache.shape))

    def __repr__(self) -> str:
        (kh, kw), f = self.kernel, self.params["weight"].shape[3]
        c = self.params["weight"].shape[2] * self.groups
        padding = self.padding if self.padding == "same" else shown(self.padding)
        text = f"GeneralConv2D({c} -> {f}, {kh}x{kw}, stride {shown(self.stride)}, padding {padding}"
        dilation = f", dilation {shown(self.dilation)}" if self.dilation != (1, 1) else ""
        groups = f", groups {self.groups}" if self.groups > 1 else ""
        return f"{text}{dilation}{groups})"
