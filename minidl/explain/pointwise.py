"""The stages of batch normalization, with its three paths back, and of ReLU, with its mask."""

from __future__ import annotations

import numpy as np

from minidl.explain.cut import around, cut, inside, scale_of
from minidl.explain.records import NormStage, ReluStage
from minidl.explain.watch import Seen
from minidl.layers.norm import BatchNormCache


def norm_stage(seen: Seen, probe: BatchNormCache, channel: int, place: tuple[int, int]) -> NormStage:
    """The three paths of `layers/norm.py` from dy to dx, in one channel of the first image.

    seen    in TRAIN mode
    probe    the cache of a PROBE pass
    """
    layer, cache = seen.layer, seen.cache
    x, dy, dx = (a[..., channel] for a in (seen.x, seen.dy, seen.dx))  # (N, H, W)
    gamma = float(layer.params["gamma"].value[channel])
    mu, inv_std = float(cache.mean[channel]), float(cache.inv_std[channel])
    xhat = (x - mu) * inv_std
    dgamma, dbeta = float((dy * xhat).sum()), float(dy.sum())
    direct = gamma * inv_std * dy
    variance = -gamma * inv_std * xhat * (dgamma / x.size)
    mean = np.full(x.shape, -gamma * inv_std * dbeta / x.size)
    region = around(place, x.shape[1:])
    gradient = scale_of(*(inside(a[0], region) for a in (dy, direct, dx)))
    return NormStage(
        name=seen.name,
        about=repr(layer),
        channel=channel,
        images=len(x),
        numbers=x.size,
        gamma=gamma,
        mu=mu,
        inv_std=inv_std,
        probe_inv_std=float(probe.inv_std[channel]),
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
    region = around(place, x.shape)
    values, gradient = scale_of(inside(x, region)), scale_of(inside(dy, region))
    return ReluStage(
        seen.name, channel, *(cut(a, region, values) for a in (x, y)), *(cut(a, region, gradient) for a in (dy, dx))
    )
