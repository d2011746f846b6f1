"""The linear maps that a block is made of, on a tile of images. They hold geometry and Parameters, but no arrays.

A linear map takes channels of a map x to channels of a map z, z = x w, and is linear in its weights w too. So a
factor per output channel, such as batch normalization's, can be multiplied into w instead of z: `scale` (F,) below.
Each map has its weights in two forms, one for each direction, which a job makes before the tiles need them. Its
backward pass sums dw over the tiles in the form that is cheapest for it, and takes the sum back once.

`x_shape` is (n, H, W, C); arrays may be channel slices of wider maps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate, pairwise

import numpy as np

from minidl.engine.blocks.box import box_sum
from minidl.engine.convolutions.choice import TileConv, tile_conv
from minidl.engine.convolutions.winograd import turned
from minidl.engine.tiles.grid import cut
from minidl.engine.tiles.recycler import Empty
from minidl.engine.tiles.runner import Scratch
from minidl.layers import Conv2D

Array = np.ndarray
Shape = tuple[int, ...]

PIECES = 4  # the most jobs that sum and transform a convolution's weight gradient


class LinearMap:
    """To add one, write `out_shape`, `forward` and `input_grad`. The other methods are those of a map without
    weights, which must treat all channels alike, with F = C.
    """

    weighted = False

    def out_shape(self, x_shape: Shape) -> Shape:
        raise NotImplementedError

    def filters(self, scale: Array, turn: bool, x_shape: Shape, dtype: np.dtype, empty: Empty) -> Array | None:
        """w scale in the form for `forward`; if `turn`, in that for `backward` and `input_grad`.

        Its memory comes from `empty`, which takes the place of `np.empty`.
        """

    def bias(self) -> Array | None:
        """(F,), added to z."""

    def forward(self, x: Array, filters: Array | None, z: Array, scratch: Scratch) -> None:
        """z = x w"""
        raise NotImplementedError

    def input_grad(self, dz: Array, filters: Array | None, dx: Array, scratch: Scratch) -> None:
        """dx = dz w.T"""
        raise NotImplementedError

    def backward(self, dz: Array, x: Array, filters, dx: Array | None, scratch: Scratch) -> tuple[Array, ...]:
        """dx = dz w.T unless None. Returns the two matrices whose product is dw, in scratch memory."""
        if dx is not None:
            self.input_grad(dz, filters, dx, scratch)
        return ()


class Box(LinearMap):
    """The sum over the k x k window around every pixel; k = 1: x itself."""

    def __init__(self, kernel: int) -> None:
        self.kernel = kernel

    def out_shape(self, x_shape: Shape) -> Shape:
        return x_shape

    def forward(self, x: Array, filters: None, z: Array, scratch: Scratch) -> None:
        box_sum(x, self.kernel, z, scratch)

    input_grad = forward  # a pixel is in the window around another one exactly if that one is in its own


class Convolutions(LinearMap):
    """Conv2D layers of one geometry and one input, side by side, so that they share their products; or a single one.

    w = [w_a f_a, w_b f_b, ...] (KH, KW, C, F), each with a factor f of its own. `choice.py` has the forms.
    """

    weighted = True

    def __init__(self, convs: Sequence[Conv2D], factors: Sequence[float] = (1,)) -> None:
        self.convs, self.columns = list(convs), side_by_side([conv.params["weight"].shape[3] for conv in convs])
        self.w_shape = *convs[0].params["weight"].shape[:3], self.columns[-1].stop
        self.factors = np.repeat(factors, [own.stop - own.start for own in self.columns])  # (F,)

    def out_shape(self, x_shape: Shape) -> Shape:
        return *self.convs[0].out_shape(x_shape)[:3], self.w_shape[3]

    def filters(self, scale: Array, turn: bool, x_shape: Shape, dtype: np.dtype, empty: Empty) -> Array:
        w = self._weight() * (scale * self.factors.astype(scale.dtype))
        return self._form(x_shape, dtype).filters(turned(w) if turn else w, empty)

    def bias(self) -> Array | None:
        biases = [conv.params["bias"].value for conv in self.convs if "bias" in conv.params]
        return np.concatenate(biases) if biases else None

    def forward(self, x: Array, filters: Array, z: Array, scratch: Scratch) -> None:
        self._form(x.shape, x.dtype).forward(x, filters, z, scratch)

    def input_grad(self, dz: Array, filters: Array, dx: Array, scratch: Scratch) -> None:
        self._form(dx.shape, dx.dtype).input_grad(dz, filters, dx, scratch)

    def backward(self, dz: Array, x: Array, filters, dx: Array | None, scratch: Scratch) -> tuple[Array, ...]:
        return self._form(x.shape, x.dtype).backward(dz, x, filters, dx, scratch)

    def weight_grad(self, dw: Array, scale: Array, x_shape: Shape, piece: slice = slice(None)) -> Array:
        """dw, a sum of the products that `backward` returns, in the form of w and times scale (F,); or of some C."""
        kernel, _, channels, f = self.w_shape
        grad = self._form(x_shape, dw.dtype).weight_grad(dw.reshape(-1, channels, f)[:, piece])
        return grad.reshape(kernel, kernel, -1, f) * (scale * self.factors.astype(scale.dtype))

    def grad_jobs(self, dw: Array, scale: Array | None, x_shape: Shape) -> list[Callable[[], None]]:
        """Jobs that add dw, summed over all tiles, to the gradients of the weights; `weight_grad` of it unless scale
        is None.
        """
        kernel, _, channels, _ = self.w_shape
        pieces = cut(0, channels, min(PIECES, kernel**2, channels))

        def fill(piece: slice) -> None:
            grad = dw[:, :, piece] if scale is None else self.weight_grad(dw, scale, x_shape, piece)
            for conv, own in zip(self.convs, self.columns, strict=True):
                conv.params["weight"].grad[:, :, piece] += grad[..., own]

        return [partial(fill, piece) for piece in pieces]

    def _weight(self) -> Array:
        parts = [conv.params["weight"].value for conv in self.convs]
        return parts[0] if len(parts) == 1 else np.concatenate(parts, axis=3)

    def _form(self, x_shape: Shape, dtype: np.dtype) -> TileConv:
        return tile_conv(self.w_shape, self.convs[0].stride, self.convs[0].padding, x_shape, dtype)


def side_by_side(channels: Sequence[int]) -> list[slice]:
    """The places of several maps with these numbers of channels on one channel axis."""
    return [slice(a, b) for a, b in pairwise([0, *accumulate(channels)])]
