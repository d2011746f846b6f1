"""The stage of a convolution: products of windows and a filter, and on the way back dy times weights."""

from __future__ import annotations

import numpy as np

from minidl.explain.cut import MOST, Region, around, cut, inside, scale_of, touching, under
from minidl.explain.records import Channel, ConvStage, Geometry
from minidl.explain.watch import Seen
from minidl.kernels import reference

CHANNELS = 3  # of the input


def conv_stage(seen: Seen, unit: int, place: tuple[int, int]) -> ConvStage:
    """The convolution `seen` with its filter `unit`, around the place of its output."""
    layer, x, y, dy, dx = seen.layer, seen.x[0], seen.y[0, ..., unit], seen.dy[0, ..., unit], seen.dx[0]
    weight = layer.params["weight"].value
    w = weight[..., unit]  # (KH, KW, C)
    window = Geometry(w.shape[0], layer.stride, layer.padding)
    bias = float(layer.params["bias"].value[unit]) if "bias" in layer.params else None
    centre = tuple(
        min(max(window.stride * i - window.padding + window.kernel // 2, 0), n - 1)
        for i, n in zip(place, x.shape, strict=False)
    )
    pixels = around(centre, x.shape[:2], max(MOST + 3 - window.kernel, 5))
    outputs = touching(pixels, window, y.shape)
    wide = under(outputs, window)

    products = _products(seen.x, w, window)  # (OH, OW, C): what each channel adds to y
    chosen = np.argsort(-np.abs(products[place]), kind="stable")[:CHANNELS]
    of_y, of_w = scale_of(*(inside(a, outputs) for a in (y, products[..., chosen]))), scale_of(w[..., chosen])
    of_x = scale_of(x[..., chosen])
    gradient = scale_of(inside(dy, outputs), inside(dx[..., chosen], pixels))
    kernel = Region(*(range(window.kernel),) * 2)
    return ConvStage(
        name=seen.name,
        about=repr(layer),
        window=window,
        unit=unit,
        filters=weight.shape[3],
        in_channels=weight.shape[2],
        bias=bias,
        y=cut(y, outputs, of_y),
        dy=cut(dy, outputs, gradient),
        channels=[
            Channel(
                channel=int(c),
                x=cut(x[..., c], wide, of_x),
                w=cut(w[..., c], kernel, of_w),
                dx=cut(dx[..., c], pixels, gradient),
                others_y=cut(np.delete(products, c, axis=2).sum(axis=2) + (bias or 0.0), outputs, of_y),
                others_dx=cut(_others_dx(seen, unit, int(c)), pixels, gradient),
            )
            for c in chosen
        ],
    )


def _products(x: np.ndarray, w: np.ndarray, window: Geometry) -> np.ndarray:
    """x (1, H, W, C) and w (K, K, C) -> (OH, OW, C): the sum of the products of each channel alone."""
    patches = reference.im2col(x, w.shape[:2], window.stride, window.padding)
    patches = patches.reshape(-1, window.kernel**2, x.shape[3])  # (P, KK C) -> (P, KK, C)
    sums = np.einsum("pkc,kc->pc", patches, w.reshape(-1, x.shape[3]))
    return sums.reshape(*reference.out_size(x.shape, w.shape[:2], window.stride, window.padding), -1)


def _others_dx(seen: Seen, unit: int, channel: int) -> np.ndarray:
    """(H, W): what all filters but `unit` send back to a channel of x."""
    layer, weight = seen.layer, seen.layer.params["weight"].value
    w = np.delete(weight[:, :, [channel]], unit, axis=3)  # (KH, KW, 1, F - 1)
    shape = (*seen.x.shape[:3], 1)
    if not w.size:
        return np.zeros(shape[1:3])
    return reference.conv2d_dx(np.delete(seen.dy, unit, axis=3), w, shape, layer.stride, layer.padding)[0, ..., 0]
