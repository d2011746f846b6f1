"""The average pool whose output has a given size, whatever the size of the image."""

from __future__ import annotations

from minidl.backend.arrays import Array
from minidl.errors import ShapeError
from minidl.kernels.general.sets import general_kernels_for
from minidl.kernels.general.window import pair
from minidl.kernels.shapes import require_float, require_rank
from minidl.layers.base import Context, Layer, Shape
from minidl.layers.general_conv import Sizes


class AdaptiveAvgPool2D(Layer):
    """The mean of each of OH x OW bins, which cover the image. `size`: one number, or a pair (OH, OW).

    Bin i of the rows runs from floor(i H / OH) to ceil((i + 1) H / OH), and the bins of the columns alike. If H is a
    multiple of OH, these are windows side by side. Otherwise neighbours may share a line, and for H < OH they repeat
    pixels.

    Shapes: x (N, H, W, C), y (N, OH, OW, C).

    Forward:   y[n,i,j,c]  = (1 / m(i,j)) sum of x[n,h,w,c] over the m(i,j) pixels of the bin
    Backward:  dx[n,h,w,c] = sum of dy[n,i,j,c] / m(i,j) over the bins that contain (h, w)

    Raises ShapeError unless the input has four axes. Source: torch.nn.AdaptiveAvgPool2d, whose bins these are; the
    idea is that of He et al., Spatial pyramid pooling, 2014, section 2.2.
    """

    def __init__(self, size: Sizes) -> None:
        self.size = pair(self.label, "size", size, least=1)

    def out_shape(self, in_shape: Shape) -> Shape:
        require_rank(self.label, in_shape, 4, "(N, H, W, C)")
        if min(in_shape) < 1:
            raise ShapeError(
                f"{self.label}: needs at least one image and one pixel, got an input of shape {in_shape}"
            )
        return in_shape[0], *self.size, in_shape[3]

    def forward(self, x: Array, ctx: Context) -> tuple[Array, Shape | None]:
        require_float(self.label, x)
        self.out_shape(x.shape)
        return general_kernels_for(x).adaptive_avg_pool(x, self.size), (x.shape if ctx.keeps_cache else None)

    def input_grad(self, dy: Array, cache: Shape) -> Array:
        return general_kernels_for(dy).adaptive_avg_pool_dx(dy, cache)

    def __repr__(self) -> str:
        return "AdaptiveAvgPool2D({}x{})".format(*self.size)
