"""The branches of a module, read from its plain layers, and whether `FusedInception` can do their work."""

from __future__ import annotations

from typing import NamedTuple

from minidl.engine.convolutions.winograd import KERNELS
from minidl.layers import AvgPool2D, BatchNorm2D, Concat, Conv2D, Layer, ReLU, Sequential
from minidl.layers.base import Parameter


class Branch(NamedTuple):
    """[1x1], [average pool, 1x1] or [1x1, k x k]; each convolution with its BN and ReLU."""

    point: Parameter  # the 1x1 filters (1, 1, C, F)
    conv: Parameter | None  # the k x k filters after it
    pool: int  # the average pool's kernel; 1 without a pool
    inner: slice  # its 1x1's channels in w1; those in front of a k x k convolution come first
    out: slice  # its channels of the module's output


def is_inception(layer: Layer) -> bool:
    """Whether `layer` is a Concat of such branches, at least one of them with a k x k convolution."""
    if type(layer) is not Concat:
        return False
    found = [conv_bns(branch) if type(branch) is Sequential else None for branch in layer.branches]
    return None not in found and any(len(convs) == 2 for _, convs in found)


def branches_of(plain: Concat) -> list[Branch]:
    """The branches of a layer for which `is_inception` is true."""
    found = [conv_bns(branch) for branch in plain.branches]
    direct = sum(_filters(convs[0]) for _, convs in found if len(convs) == 2)  # where those without k x k begin
    reduced, out, branches = 0, 0, []
    for pool, convs in found:
        first, last = _filters(convs[0]), out + _filters(convs[-1])
        start = reduced if len(convs) == 2 else direct
        point, conv = ([pair[0].params["weight"] for pair in convs] + [None])[:2]
        branches.append(Branch(point, conv, pool, slice(start, start + first), slice(out, last)))
        if conv:
            reduced += first
        else:
            direct += first
        out = last
    return branches


def _filters(conv_bn: tuple[Conv2D, BatchNorm2D]) -> int:
    return conv_bn[0].params["weight"].shape[3]


def conv_bns(branch: Sequential) -> tuple[int, list[tuple[Conv2D, BatchNorm2D]]] | None:
    """(kernel of the average pool or 1, [(convolution, BN), ...]) of a branch; None if it has another form."""
    layers, pool = list(branch), 1
    if layers and type(layers[0]) is AvgPool2D:
        first = layers.pop(0)
        if not _keeps_size(first.kernel, first.stride, first.padding):
            return None
        pool = first.kernel
    convs = []
    for layer in layers:
        parts = list(layer) if type(layer) is Sequential else []
        if [type(part) for part in parts] != [Conv2D, BatchNorm2D, ReLU]:
            return None
        conv = parts[0]
        if "bias" in conv.params or not _keeps_size(conv.params["weight"].shape[0], conv.stride, conv.padding):
            return None
        convs.append((conv, parts[1]))
    kernels = [conv.params["weight"].shape[0] for conv, _ in convs]
    fits = kernels == [1] or (len(kernels) == 2 and kernels[0] == 1 and kernels[1] in KERNELS and pool == 1)
    return (pool, convs) if fits else None


def _keeps_size(kernel: int, stride: int, padding: int) -> bool:
    """Whether a window leaves the map's height and width unchanged."""
    return stride == 1 and kernel % 2 == 1 and padding == kernel // 2
