"""The linear maps that a block is made of, on a tile of images. They hold geometry and Parameters, but no arrays.

A linear map takes channels of a map x to channels of a map z, z = x w, and is linear in its weights w too. So a
factor per output channel, such as batch normalization's, can be multiplied into w instead of z: `scale` (F,) below.
Each map has its weights in two forms, one for each direction, which a job makes before the tiles need them. Its
backward pass sums dw over the tiles in the form that is cheapest for it, and takes the sum back once.

To add one, write a class with these methods. `x_shape` is (n, H, W, C); arrays may be channel slices of wider maps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import numpy as np

from minidl.engine.blocks.box import box_sum
from minidl.engine.convolutions.choice import TileConv, tile_conv
from minidl.engine.tiles.grid import tree_sum
from minidl.engine.tiles.products import product
from minidl.engine.tiles.recycler import Empty, aligned_copy
from minidl.engine.tiles.runner import Scratch
from minidl.layers import Conv2D
from minidl.layers.base import Parameter

Array = np.ndarray
Shape = tuple[int, ...]

PIECES = 4  # the number of jobs that sum and transform a convolution's weight gradient


class LinearMap(Protocol):
    weighted: bool  # False: it has no weights, treats all channels alike, and F = C

    def out_shape(self, x_shape: Shape) -> Shape: ...

    def filters(self, scale: Array, x_shape: Shape, dtype: np.dtype, empty: Empty) -> Array | None:
        """w scale in the form for `forward`, in memory from `empty`, which takes the place of `np.empty`."""

    def turned(self, scale: Array, x_shape: Shape, dtype: np.dtype, empty: Empty) -> Array | None:
        """w scale in the form for `backward` and `input_grad`."""

    def bias(self) -> Array | None:
        """(F,), added to z."""

    def forward(self, x: Array, filters: Array | None, z: Array, scratch: Scratch) -> None:
        """z = x w"""

    def input_grad(self, dz: Array, turned: Array | None, dx: Array, scratch: Scratch) -> None:
        """dx = dz w.T"""

    def dw_shape(self, x_shape: Shape, dtype: np.dtype) -> Shape | None:
        """The shape in which `backward` sums dw."""

    def backward(
        self, dz: Array, x: Array, turned: Array, dw: Array, add: bool, dx: Array | None, scratch: Scratch
    ) -> None:
        """dx = dz w.T unless None; dw is set, or added to if `add`."""

    def grad_jobs(self, dws: Array, scale: Array, x_shape: Shape) -> list[Callable[[], None]]:
        """Jobs that add the sum of dws (lanes, ...), times scale, to the gradients of the weights."""


class Convolution:
    """A Conv2D of any geometry; see `choice.py` for its forms."""

    weighted = True

    def __init__(self, conv: Conv2D) -> None:
        self.conv = conv

    def out_shape(self, x_shape: Shape) -> Shape:
        return self.conv.out_shape(x_shape)

    def filters(self, scale: Array, x_shape: Shape, dtype: np.dtype, empty: Empty) -> Array:
        return self._form(x_shape, dtype).filters(self._weight.value * scale, empty)

    def turned(self, scale: Array, x_shape: Shape, dtype: np.dtype, empty: Empty) -> Array:
        return self._form(x_shape, dtype).turned_filters(self._weight.value * scale, empty)

    def bias(self) -> Array | None:
        return self.conv.params["bias"].value if "bias" in self.conv.params else None

    def forward(self, x: Array, filters: Array, z: Array, scratch: Scratch) -> None:
        self._form(x.shape, x.dtype).forward(x, filters, z, scratch)

    def input_grad(self, dz: Array, turned: Array, dx: Array, scratch: Scratch) -> None:
        self._form(dx.shape, dx.dtype).input_grad(dz, turned, dx, scratch)

    def dw_shape(self, x_shape: Shape, dtype: np.dtype) -> Shape:
        return self._form(x_shape, dtype).dw_shape(self._weight.shape)

    def backward(
        self, dz: Array, x: Array, turned: Array, dw: Array, add: bool, dx: Array | None, scratch: Scratch
    ) -> None:
        self._form(x.shape, x.dtype).backward(dz, x, turned, dw, add, dx, scratch)

    def grad_jobs(self, dws: Array, scale: Array, x_shape: Shape) -> list[Callable[[], None]]:
        form, grad = self._form(x_shape, dws.dtype), self._weight.grad
        c, pieces = grad.shape[2], min(PIECES, grad.shape[2])
        bounds = [c * i // pieces for i in range(pieces + 1)]

        def fill(channels: slice) -> None:
            grad[:, :, channels] += form.weight_grad(tree_sum(dws[..., channels, :])) * scale

        return [partial(fill, slice(a, b)) for a, b in zip(bounds, bounds[1:], strict=False)]

    @property
    def _weight(self) -> Parameter:
        return self.conv.params["weight"]

    def _form(self, x_shape: Shape, dtype: np.dtype) -> TileConv:
        return tile_conv(self._weight.shape, self.conv.stride, self.conv.padding, x_shape, dtype)


class Points:
    """1x1 convolutions of one input, side by side: one matrix product for all of them.

    z = x w,  dx = dz w.T,  dw = x.T dz,  with w = [w_a f_a, w_b f_b, ...] (C, F), each with a factor f of its own.
    """

    weighted = True

    def __init__(self, convs: Sequence[Conv2D], factors: Sequence[float]) -> None:
        self.convs, self.factors = list(convs), list(factors)
        ends = np.cumsum([conv.params["weight"].shape[3] for conv in convs]).tolist()
        self.columns = [slice(a, b) for a, b in zip([0, *ends], ends, strict=False)]
        self.shape = convs[0].params["weight"].shape[2], ends[-1]

    def out_shape(self, x_shape: Shape) -> Shape:
        return *x_shape[:3], self.shape[1]

    def filters(self, scale: Array, x_shape: Shape, dtype: np.dtype, empty: Empty) -> Array:
        return aligned_copy(self._weights() * scale, empty)

    def turned(self, scale: Array, x_shape: Shape, dtype: np.dtype, empty: Empty) -> Array:
        return aligned_copy((self._weights() * scale).T, empty)

    def bias(self) -> None:
        return None

    def forward(self, x: Array, filters: Array, z: Array, scratch: Scratch) -> None:
        product(_pixels(x), filters, _pixels(z))

    def input_grad(self, dz: Array, turned: Array, dx: Array, scratch: Scratch) -> None:
        product(_pixels(dz), turned, _pixels(dx))

    def dw_shape(self, x_shape: Shape, dtype: np.dtype) -> Shape:
        return self.shape

    def backward(
        self, dz: Array, x: Array, turned: Array, dw: Array, add: bool, dx: Array | None, scratch: Scratch
    ) -> None:
        part = scratch("dw", dw.shape, dw.dtype) if add else dw
        np.matmul(_pixels(x).T, _pixels(dz), out=part)  # (C, P) @ (P, F)
        if add:
            dw += part
        if dx is not None:
            self.input_grad(dz, turned, dx, scratch)

    def grad_jobs(self, dws: Array, scale: Array, x_shape: Shape) -> list[Callable[[], None]]:
        def fill() -> None:
            dw = tree_sum(dws) * scale
            for conv, factor, columns in zip(self.convs, self.factors, self.columns, strict=True):
                conv.params["weight"].grad[0, 0] += dw[:, columns] * factor

        return [fill]

    def _weights(self) -> Array:
        parts = [
            conv.params["weight"].value[0, 0] * factor for conv, factor in zip(self.convs, self.factors, strict=True)
        ]
        return np.concatenate(parts, axis=1)


def convolution(conv: Conv2D) -> LinearMap:
    """The map of a Conv2D."""
    points = conv.params["weight"].shape[:2] == (1, 1) and (conv.stride, conv.padding) == (1, 0)
    return Points([conv], [1]) if points and "bias" not in conv.params else Convolution(conv)


class Box:
    """The sum over the k x k window around every pixel; k = 1: x itself."""

    weighted = False

    def __init__(self, kernel: int) -> None:
        self.kernel = kernel

    def out_shape(self, x_shape: Shape) -> Shape:
        return x_shape

    def filters(self, scale: Array, x_shape: Shape, dtype: np.dtype, empty: Empty) -> None:
        return None

    turned = filters

    def bias(self) -> None:
        return None

    def forward(self, x: Array, filters: None, z: Array, scratch: Scratch) -> None:
        box_sum(x, self.kernel, z, scratch)

    def input_grad(self, dz: Array, turned: None, dx: Array, scratch: Scratch) -> None:
        box_sum(dz, self.kernel, dx, scratch)

    def dw_shape(self, x_shape: Shape, dtype: np.dtype) -> None:
        return None

    def backward(
        self, dz: Array, x: Array, turned: None, dw: None, add: bool, dx: Array | None, scratch: Scratch
    ) -> None:
        if dx is not None:
            self.input_grad(dz, turned, dx, scratch)

    def grad_jobs(self, dws: None, scale: Array, x_shape: Shape) -> list[Callable[[], None]]:
        return []


def _pixels(a: Array) -> Array:
    """(n, H, W, C) -> (P, C), a view, also of a channel slice."""
    return a.reshape(-1, a.shape[3])
