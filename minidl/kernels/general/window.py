"""Where the windows of a convolution or a pool lie on an image: one value, made from a layer's options and the image.

Along one axis, window o has its pixel k at  stride o + dilation k - before.  It spans  dilation (K - 1) + 1  pixels.
"""

from __future__ import annotations

from operator import index
from typing import Any, NamedTuple

from minidl.errors import ShapeError, UsageError
from minidl.kernels.shapes import require_rank

Pair = tuple[int, int]
Shape = tuple[int, ...]


class Window(NamedTuple):
    """A window of KH x KW pixels. Each entry is (of the rows, of the columns)."""

    kernel: Pair
    stride: Pair
    padding: tuple[Pair, Pair]  # (top, bottom), (left, right)
    dilation: Pair = (1, 1)

    @property
    def span(self) -> Pair:
        """The pixels from the first to the last one of a window."""
        (kh, kw), (dh, dw) = self.kernel, self.dilation
        return dh * (kh - 1) + 1, dw * (kw - 1) + 1

    def positions(self, x_shape: Shape) -> Pair:
        """(OH, OW): how many windows fit on an image of x (N, H, W, C) with its padding."""
        axes = zip(x_shape[1:3], self.padding, self.span, self.stride, strict=True)
        oh, ow = ((size + sum(padding) - span) // stride + 1 for size, padding, span, stride in axes)
        return oh, ow

    def out_shape(self, label: str, in_shape: Shape) -> tuple[int, int, int, int]:
        """(N, OH, OW, C), or a ShapeError that says which window does not fit."""
        require_rank(label, in_shape, 4, "(N, H, W, C)")
        if in_shape[0] < 1:
            raise ShapeError(f"{label}: needs at least one image, got an input of shape {in_shape}")
        oh, ow = self.positions(in_shape)
        if min(oh, ow, *in_shape[1:3]) < 1:
            raise ShapeError(f"{label}: {self} does not fit an input of shape {in_shape}")
        return in_shape[0], oh, ow, in_shape[3]

    def __str__(self) -> str:
        (top, bottom), (left, right) = self.padding
        sides = (top, left) if (top, left) == (bottom, right) else ((top, bottom), (left, right))
        dilation = "" if self.dilation == (1, 1) else f", dilation {shown(self.dilation)}"
        kh, kw = self.kernel
        return f"a {kh}x{kw} window (stride {shown(self.stride)}, padding {shown(sides)}{dilation})"


def square(kernel: int, stride: int, padding: int) -> Window:
    """A window with the same sizes on both axes."""
    return Window((kernel, kernel), (stride, stride), ((padding, padding), (padding, padding)))


def shown(pair: tuple) -> str:
    """(2, 2) as 2, (2, 1) as (2, 1)."""
    return str(pair[0] if pair[0] == pair[1] else pair)


def pair(label: str, name: str, value: Any, least: int) -> Pair:
    """An option as (of the rows, of the columns); one number stands for both."""
    value = value.tolist() if hasattr(value, "tolist") else value  # of NumPy
    both = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if len(both) != 2 or not all(hasattr(v, "__index__") and not isinstance(v, bool) for v in both):
        raise UsageError(f"{label}: {name} is {value!r}, must be a whole number or a pair (rows, columns) of them")
    if min(both) < least:
        raise ShapeError(f"{label}: {name} is {value!r}, must be at least {least}")
    return index(both[0]), index(both[1])


def same_padding(size: int, span: int, stride: int) -> Pair:
    """(before, after) for out = ceil(size / stride), as in Keras: the odd pixel comes after."""
    total = max(0, (-(-size // stride) - 1) * stride + span - size)
    return total // 2, total - total // 2


def ceil_padding(size: int, kernel: int, stride: int, padding: int) -> Pair:
    """(before, after) for a last window that hangs over the end by some lines, as in torch.

    If it would begin after the last pixel, it is left out.
    """
    over = -(size + 2 * padding - kernel) % stride
    return padding, padding + (over if over < kernel - padding else 0)
