"""The stages of the page, each from what a layer received and gave on the way there and back."""

from __future__ import annotations

import numpy as np

from minidl.explain.cut import (
    Region,
    around,
    cut,
    place_of,
    scale_of,
    strongest,
    touching,
    under,
    windows_of_pixels,
)
from minidl.explain.records import (
    Branch,
    Channel,
    ConvStage,
    Geometry,
    JoinStage,
    NormStage,
    PoolStage,
    ReluStage,
)
from minidl.explain.watch import Seen
from minidl.kernels import reference
from minidl.layers import MaxPool2D

CHANNELS = 3  # of a convolution's input
MOST = 7  # rows and columns of a map
SAMPLES = 3  # channels of a branch


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
    of_y, of_w = scale_of(*(_part(a, outputs) for a in (y, products[..., chosen]))), scale_of(w[..., chosen])
    of_x = scale_of(x[..., chosen])
    gradient = scale_of(_part(dy, outputs), _part(dx[..., chosen], pixels))
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


def _part(a: np.ndarray, region: Region) -> np.ndarray:
    """The region of a map (H, W) or maps (H, W, C)."""
    return a[region.rows.start : region.rows.stop, region.columns.start : region.columns.stop]


def pool_stage(seen: Seen) -> PoolStage:
    """A max or average pool, in the channel with the largest gradient, around a pixel that several windows share."""
    layer = seen.layer
    window = Geometry(layer.kernel, layer.stride, layer.padding)
    is_max = isinstance(layer, MaxPool2D)
    size, out = seen.x.shape[1:3], seen.y.shape[1:3]
    *place, channel = strongest(seen.dx[0])
    x, y, dy, dx = (a[0, ..., channel] for a in (seen.x, seen.y, seen.dy, seen.dx))
    switches = None
    if is_max:
        places = _switches(seen.cache.index[0, ..., channel].astype(int), window)
        shared = np.zeros(size)
        np.add.at(shared, (places[..., 0], places[..., 1]), dy != 0)
        place = place_of(np.where(shared == shared.max(), np.abs(dx), -1))
        switches = places
    pixels = around(tuple(place), size, MOST)
    outputs = touching(pixels, window, out)
    wide = under(outputs, window)
    counts = windows_of_pixels(pixels, window, out, size)
    if np.ptp(counts.values) == 0:
        counts = windows_of_pixels(around((0, 0), size, MOST), window, out, size)  # where they differ
    values, gradient = scale_of(_part(x, pixels), _part(y, outputs)), scale_of(_part(dy, outputs), _part(dx, pixels))
    return PoolStage(
        name=seen.name,
        about=repr(layer),
        kind="max" if is_max else "average",
        window=window,
        overlaps=window.stride < window.kernel,
        channel=channel,
        channels=seen.x.shape[3],
        x=cut(x, wide, values),
        y=cut(y, outputs, values),
        dy=cut(dy, outputs, gradient),
        dx=cut(dx, pixels, gradient),
        counts=counts,
        switches=[] if switches is None else _part(switches, outputs).tolist(),
    )


def _switches(index: np.ndarray, window: Geometry) -> np.ndarray:
    """(OH, OW) places in the windows -> (OH, OW, 2): row and column of the pixel."""
    corner = np.indices(index.shape) * window.stride - window.padding  # (2, OH, OW)
    return np.stack([corner[0] + index // window.kernel, corner[1] + index % window.kernel], axis=2)


def norm_stage(seen: Seen, channel: int, place: tuple[int, int]) -> NormStage:
    """The three paths of `layers/norm.py` from dy to dx, in one channel of the first image."""
    layer, cache = seen.layer, seen.cache
    x, dy, dx = (a[..., channel] for a in (seen.x, seen.dy, seen.dx))  # (N, H, W)
    gamma = float(layer.params["gamma"].value[channel])
    mu, inv_std = float(cache.mean[channel]), float(cache.inv_std[channel])
    xhat = (x - mu) * inv_std
    dgamma, dbeta = float((dy * xhat).sum()), float(dy.sum())
    direct = gamma * inv_std * dy
    variance = -gamma * inv_std * xhat * (dgamma / x.size)
    mean = np.full(x.shape, -gamma * inv_std * dbeta / x.size)
    region = around(place, x.shape[1:], MOST)
    gradient = scale_of(*(_part(a[0], region) for a in (dy, direct, dx)))
    return NormStage(
        name=seen.name,
        about=repr(layer),
        channel=channel,
        images=len(x),
        numbers=x.size,
        gamma=gamma,
        mu=mu,
        inv_std=inv_std,
        running_mean=float(layer.buffers["running_mean"][channel]),
        running_inv_std=float(1 / np.sqrt(layer.buffers["running_var"][channel] + layer.eps)),
        dgamma=dgamma,
        dbeta=dbeta,
        x=cut(x[0], region),
        xhat=cut(xhat[0], region),
        **{
            name: cut(a[0], region, scale)
            for name, a, scale in (
                ("dy", dy, gradient),
                ("direct", direct, gradient),
                ("variance", variance, None),  # mostly much smaller than the first
                ("mean", mean, None),
                ("dx", dx, gradient),
            )
        },
    )


def relu_stage(seen: Seen, channel: int, place: tuple[int, int]) -> ReluStage:
    x, y, dy, dx = (a[0, ..., channel] for a in (seen.x, seen.y, seen.dy, seen.dx))
    region = around(place, x.shape, MOST)
    values, gradient = scale_of(_part(x, region)), scale_of(_part(dy, region))
    return ReluStage(
        seen.name, channel, *(cut(a, region, values) for a in (x, y)), *(cut(a, region, gradient) for a in (dy, dx))
    )


def join_stage(seen: Seen, inner: list[tuple[str, Seen]]) -> JoinStage:
    """A module of branches: how y is joined from theirs, and dx, in the channel with the largest gradient.

    inner    (name, what it received and gave) of each branch
    """
    y, dy, dx = seen.y[0], seen.dy[0], seen.dx[0]
    row, column, channel = strongest(dx)
    region = around((row, column), dx.shape[:2], MOST)
    outputs = seen.layer.outputs(seen.x.shape)
    middle = place_of(np.abs(dy).sum(axis=2))
    parts = [b.dx[0] for _, b in inner]
    names = [name for name, _ in inner]
    if not outputs and len(inner) == 1:  # a residual block whose shortcut is x itself
        parts.append(dy)
        names.append("shortcut (x itself)")
    widths = [b.y.shape[3] for _, b in inner]
    starts = np.cumsum([0, *widths]).tolist() if outputs else [0] * (len(names) + 1)
    stops = starts[1:] if outputs else [y.shape[2]] * len(names)
    gradient = scale_of(*(_part(p[..., channel], region) for p in (*parts, dx)))
    return JoinStage(
        name=seen.name,
        about=repr(seen.layer),
        joined="concatenation" if outputs else "sum",
        channel=channel,
        in_channels=dx.shape[2],
        channels=y.shape[2],
        place=middle,
        value=tuple(scale_of(y[middle])),
        gradient=tuple(scale_of(dy[middle])),
        branches=[
            Branch(
                name=name,
                start=start,
                stop=stop,
                samples=[
                    (c, float(y[(*middle, c)]), float(dy[(*middle, c)]))
                    for c in range(start, min(start + SAMPLES, stop))
                ],
                dx=cut(part[..., channel], region, gradient),
            )
            for name, start, stop, part in zip(names, starts, stops, parts, strict=False)
        ],
        dx=cut(dx[..., channel], region, gradient),
    )
