"""The fused inception module: parallel branches over one input that share their matrix products and passes.

The module's 1x1 convolutions all read x, so their filters stand side by side, w1 = [w_a w_b ...], and
    [z_a z_b ...] = x w1,    dx = [dz_a dz_b ...] w1.T,    dw1 = x.T [dz_a dz_b ...].
Forward this is two products, because the results go to two arrays: the inputs of the k x k convolutions, and the
module's output. An average pool treats all channels alike, and a 1x1 convolution treats all pixels alike, so they
commute:
    sum_c (sum_j P[i,j] x[j,c]) w[c,f] = sum_j P[i,j] (sum_c x[j,c] w[c,f]).
The pool comes after the convolution, where it adds up 16 channels instead of 128.

Batch normalization needs a sum over the batch twice in each direction: after the 1x1s before the k x k convolutions
(`z_reduce`), and for the module's output (`z_out`, all branches side by side). Between these sums every tile is
independent of the others. `batchnorm.py` explains why dz needs only one pass, and why its factor `scale` moves into
the filters; `epilogue.py` explains the max pool after the module.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from minidl.engine.blocks import batchnorm as bn
from minidl.engine.blocks.block import Fused
from minidl.engine.blocks.box import box_sum
from minidl.engine.blocks.branches import Branch, branches_of, conv_bns
from minidl.engine.blocks.epilogue import Cache as EpilogueCache
from minidl.engine.blocks.epilogue import Epilogue
from minidl.engine.convolutions.choice import Filters, TileConv, tile_conv, weight_grad_jobs
from minidl.engine.tiles.grid import Grid, grid_of, tree_sum
from minidl.engine.tiles.products import product
from minidl.engine.tiles.recycler import aligned_copy
from minidl.engine.tiles.runner import Scratch, TileRunner
from minidl.layers import Concat, Layer

Array = np.ndarray

TILE_NUMBERS = 1 << 18  # the most numbers in a tile of x or z_out, unless a single image has more


class Cache(NamedTuple):
    """What a TRAIN forward pass keeps."""

    x: Array
    z_reduce: Array  # (N, H, W, R) the 1x1s before the k x k convolutions, without BN
    reduce: bn.Normalization
    epilogue: EpilogueCache


class Folded(NamedTuple):
    """For INFER mode: the module's filters multiplied by BN's scale, and BN's shifts."""

    w1: list[Array]  # see split
    filters: list[Array]  # of the k x k convolutions
    reduce_shift: Array  # this and the next one `per_row`
    out_shift: Array


class FusedInception(Fused):
    """Made from a Concat of branches [1x1], [1x1, k x k "same"] and [average pool, 1x1], in any order.

    It may also be a Sequential of such a Concat and a 2x2 max pool.

    Shapes: x (N, H, W, C), y (N, H, W, F), or the pool's. The convolutions have no bias, and BN and ReLU follow each
    of them. `branches.is_inception` says whether a layer has this form. `fold` and `infer_tile`: inference for a
    tile.

    Source: Szegedy et al., Going deeper with convolutions, 2014, section 4.
    """

    def __init__(self, plain: Layer, runner: TileRunner) -> None:
        super().__init__(plain, runner)
        module, pool = plain, None
        if not isinstance(plain, Concat):
            module, pool = plain.layers.values()
        convs_bns = [bns for _, bns in map(conv_bns, module.branches)]
        self.reduce_bn = bn.BatchNorms([pairs[0][1] for pairs in convs_bns if len(pairs) == 2])
        self.epilogue = Epilogue([pairs[-1][1] for pairs in convs_bns], pool, runner)
        self.branches = branches_of(module)
        self.convs = [b for b in self.branches if b.conv]
        self.direct = [b for b in self.branches if not b.conv]
        self.w1_shape = (self.branches[0].point.shape[2], max(b.inner.stop for b in self.branches))

    # ------------------------------------------------------------------ training

    def train(self, x: Array) -> tuple[Array, Cache]:
        tiles, empty = self.tiles(x), self.runner.empty
        signs = self.epilogue.bn.signs()
        w1 = self.split(self.w1() * self.inner(self.reduce_bn.signs(), signs))
        filters = [Filters(conv_of(b, x).filters, b.conv.value * signs[b.out]) for b in self.convs]
        z_reduce = empty((*x.shape[:3], self.reduce_bn.channels), x.dtype)
        sums = bn.Sums(tiles, z_reduce)
        out = self.epilogue.start((*x.shape[:3], self.epilogue.bn.channels), x.dtype, tiles)

        def points(i: int, lane: int, scratch: Scratch) -> None:
            self.points(x[tiles[i]], w1, z_reduce[tiles[i]], out.z[tiles[i]], scratch)
            sums.add_up(i, z_reduce[tiles[i]], z_reduce[tiles[i]])

        def windows(i: int, lane: int, scratch: Scratch) -> None:
            hidden = scratch("hidden", z_reduce[tiles[i]].shape, x.dtype)
            bn.affine_relu(z_reduce[tiles[i]], *line, hidden)
            self.windows(hidden, [f.ready for f in filters], out.z[tiles[i]], scratch)
            self.epilogue.add(i, tiles[i], out, scratch)

        self.runner.run(points, tiles, filters)
        reduce = self.reduce_bn.normalize(z_reduce, sums, tiles, self.runner)
        line = reduce.scale_and_shift(z_reduce)
        self.runner.run(windows, tiles)
        y, cache = self.epilogue.train(out, tiles)
        return y, Cache(x, z_reduce, reduce, cache)

    def train_backward(self, dy: Array, cache: Cache, need_dx: bool) -> Array | None:
        x, z_reduce, reduce, epilogue = cache
        tiles, empty = self.tiles(x), self.runner.empty
        lanes = len(tiles.lanes)
        scale = epilogue.norm.scale * epilogue.norm.signs
        filters = [Filters(conv_of(b, x).turned_filters, b.conv.value * scale[b.out]) for b in self.convs]
        back = self.epilogue.backward(dy, epilogue, tiles, filters)
        dws = [empty((lanes, *conv_of(b, x).dw_shape(b.conv.shape)), x.dtype) for b in self.convs]
        reduced = z_reduce.shape[3]
        dz1 = empty((*x.shape[:3], self.w1_shape[1]), x.dtype)  # at the 1x1s; first d of those in front of BN
        sums, line = bn.GradientSums(tiles, z_reduce, reduce), reduce.scale_and_shift(z_reduce)

        def windows_back(i: int, lane: int, scratch: Scratch) -> None:
            tile = tiles[i]
            dz = scratch("dz", epilogue.z[tile].shape, x.dtype)
            self.epilogue.dz(back, epilogue, tile, dz, scratch)
            for b in self.direct:
                box_sum(dz[..., b.out], b.pool, dz1[tile][..., b.inner], scratch)
            hidden, dhidden = (scratch(name, z_reduce[tile].shape, x.dtype) for name in ("hidden", "dhidden"))
            bn.affine_relu(z_reduce[tile], *line, hidden)
            for b, w, dw in zip(self.convs, filters, dws, strict=True):
                h, dh = hidden[..., b.inner], dhidden[..., b.inner]
                conv_of(b, h).backward(dz[..., b.out], h, w.ready, dw[lane], tiles.again[i], dh, scratch)
            bn.relu_grad(dhidden, hidden, dhidden, scratch)
            sums.add_up(i, dhidden, z_reduce[tile])
            dz1[tile][..., :reduced] = dhidden

        self.runner.run(windows_back, tiles)
        grads = [np.empty_like(b.conv.grad) for b in self.convs]
        jobs = [
            job
            for b, dw, grad in zip(self.convs, dws, grads, strict=True)
            for job in weight_grad_jobs(conv_of(b, x), dw, scale[b.out], grad)
        ]
        slopes = bn.per_row(self.reduce_bn.backward(*sums.over_batch(self.runner), reduce), z_reduce.shape[2])
        scale1 = self.inner(reduce.scale * reduce.signs, scale)
        dw1 = empty((lanes, *self.w1_shape), x.dtype)
        w1 = aligned_copy((self.w1() * scale1).T)
        dx = empty(x.shape, x.dtype) if need_dx else None

        def points_back(i: int, lane: int, scratch: Scratch) -> None:
            tile = tiles[i]
            dz1[tile][..., :reduced] += bn.affine(
                z_reduce[tile], *slopes, scratch("affine", z_reduce[tile].shape, x.dtype)
            )
            dz = dz1[tile].reshape(-1, self.w1_shape[1])  # (n, H, W, C1) -> (P, C1)
            part = scratch("dw1", self.w1_shape, x.dtype) if tiles.again[i] else dw1[lane]
            np.matmul(x[tile].reshape(len(dz), -1).T, dz, out=part)  # (C, P) @ (P, C1)
            if tiles.again[i]:
                dw1[lane] += part
            if need_dx:
                product(dz, w1, dx[tile].reshape(len(dz), -1))

        self.runner.run(points_back, tiles, jobs)
        for b, grad in zip(self.convs, grads, strict=True):
            b.conv.grad += grad
        grad = tree_sum(dw1) * scale1
        for b in self.branches:
            b.point.grad[0, 0] += grad[:, b.inner] * (1 / b.pool**2)
        return dx

    # ----------------------------------------------------------------- inference

    def fold(self, x: Array) -> Folded:
        """The weights and running statistics as one set of filters and shifts, for inputs like x."""
        (reduce_scale, reduce_shift), (scale, shift) = self.reduce_bn.folded(), self.epilogue.bn.folded()
        filters = [conv_of(b, x).filters(b.conv.value * scale[b.out]) for b in self.convs]
        reduce_shift = bn.per_row(reduce_shift, x.shape[2])
        shift = self.epilogue.infer_shift(shift, (*x.shape[:3], len(shift)))
        return Folded(self.split(self.w1() * self.inner(reduce_scale, scale)), filters, reduce_shift, shift)

    def infer_tile(self, x: Array, folded: Folded, scratch: Scratch) -> Array:
        """y of some images, in scratch memory that the next call uses again."""
        hidden = scratch("hidden", (*x.shape[:3], self.reduce_bn.channels), x.dtype)
        z = scratch(f"z of {self.key}", (*x.shape[:3], self.epilogue.bn.channels), x.dtype)
        self.points(x, folded.w1, hidden, z, scratch)
        bn.shift_relu(hidden, folded.reduce_shift)
        self.windows(hidden, folded.filters, z, scratch)
        return self.epilogue.infer_tile(z, folded.out_shift, f"y of {self.key}", scratch)

    # ---------------------------------------------------- the linear parts of a tile

    def points(self, x: Array, w1: list[Array], z_reduce: Array, z_out: Array, scratch: Scratch) -> None:
        """The 1x1 convolutions: the reduced maps, and the output channels of the other branches."""
        (w_reduce, w_direct), reduced = w1, z_reduce.shape[3]
        z1 = scratch("z1", (*x.shape[:3], w_direct.shape[1]), x.dtype)
        x = x.reshape(-1, x.shape[3])  # (n, H, W, C) -> (P, C)
        product(x, w_reduce, z_reduce.reshape(len(x), -1))
        product(x, w_direct, z1.reshape(len(x), -1))
        for b in self.direct:
            box_sum(z1[..., b.inner.start - reduced : b.inner.stop - reduced], b.pool, z_out[..., b.out], scratch)

    def windows(self, hidden: Array, filters: list[Array], z_out: Array, scratch: Scratch) -> None:
        """The k x k convolutions, each into its output channels."""
        for b, w in zip(self.convs, filters, strict=True):
            h = hidden[..., b.inner]
            conv_of(b, h).forward(h, w, z_out[..., b.out], scratch)

    def w1(self) -> Array:
        """The 1x1 filters side by side, (C, C1); those after an average pool carry its 1/k^2."""
        w1 = np.empty(self.w1_shape, self.branches[0].point.dtype)
        for b in self.branches:
            w1[:, b.inner] = b.point.value[0, 0] * (1 / b.pool**2)
        return w1

    def split(self, w1: Array) -> list[Array]:
        """The columns of w1 in front of k x k convolutions, and the others."""
        reduced = self.reduce_bn.channels
        return [aligned_copy(w1[:, :reduced]), aligned_copy(w1[:, reduced:])]

    def inner(self, reduce: Array, out: Array) -> Array:
        """Numbers per channel of z_reduce and of z_out, in the order of w1's columns."""
        return np.concatenate([reduce, *(out[b.out] for b in self.direct)])

    def tiles(self, x: Array) -> Grid:
        n, h, w, c = x.shape
        return grid_of(n, max(1, TILE_NUMBERS // (h * w * max(c, self.epilogue.bn.channels))))


def conv_of(branch: Branch, x: Array) -> TileConv:
    """The branch's k x k convolution for maps of the size of x, one tile or all."""
    w_shape = branch.conv.shape
    return tile_conv(w_shape, 1, w_shape[0] // 2, x.shape, x.dtype)
