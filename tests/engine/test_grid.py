"""Tiles and shards of a batch: sums that come out the same whoever computes which shard."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.engine.blocks import batchnorm as bn
from minidl.engine.tiles.grid import SHARDS, Grid, grid_of, shards_of, tree_sum
from minidl.engine.tiles.recycler import Recycler, aligned
from minidl.engine.tiles.runner import TileRunner
from minidl.engine.tiles.scratch import Scratch
from minidl.engine.tiles.sums import ProductSum
from tests.engine.test_fused import same_bits
from tests.strategies import cases


@cases(200)
@given(st.integers(1, 300), st.integers(1, 40))
def test_the_tiles_are_the_whole_batch_in_order_and_none_crosses_the_border_of_a_shard(images, most):
    grid = grid_of(images, most)
    assert [i for tile in grid for i in range(images)[tile]] == list(range(images))
    assert all(1 <= tile.stop - tile.start <= most for tile in grid)
    shards = len(grid.lanes)
    borders = [images * k // shards for k in range(shards + 1)]
    for k, tiles in enumerate(grid.lanes):
        assert (grid[tiles.start].start, grid[tiles.stop - 1].stop) == (borders[k], borders[k + 1])
        sizes = {grid[i].stop - grid[i].start for i in tiles}
        assert max(sizes) - min(sizes) <= 1
        assert {grid.lane[i] for i in tiles} == {k}
    assert grid.images.ravel().tolist() == np.diff(borders).tolist()


def test_the_number_of_shards_is_a_power_of_two_that_leaves_four_images_or_more_in_each():
    numbers = {1: 1, 2: 2, 3: 2, 4: 2, 8: 2, 15: 2, 16: 4, 24: 4, 31: 4, 32: 8, 64: 8, 1000: SHARDS}
    assert {images: shards_of(images) for images in numbers} == numbers


@pytest.mark.parametrize("shards", [1, 2, 4, 8])
def test_a_sum_over_shards_is_the_same_if_parts_of_the_tree_are_summed_elsewhere(shards):
    parts = np.random.default_rng(0).normal(size=(8, 50)).astype(np.float32)
    elsewhere = np.stack([tree_sum(part) for part in np.split(parts, shards)])
    same_bits(tree_sum(elsewhere), tree_sum(parts))
    assert not np.array_equal(tree_sum(parts), np.add.reduce(parts, axis=0))  # so the order does matter


@pytest.mark.parametrize("images", [1, 3, 9, 16, 40])
def test_a_sum_of_products_over_tiles_is_that_of_the_tree_in_whatever_order_the_lanes_end(images):
    rng, grid, scratch = np.random.default_rng(images), grid_of(images, 2), Scratch()
    a, b = (rng.normal(size=(len(grid), 4, 3, n, m)).astype(np.float32) for n, m in ((7, 5), (5, 6)))
    lanes = np.stack([np.zeros((4, 3, 7, 6), np.float32)] * len(grid.lanes))
    for i, lane in enumerate(grid.lane):
        lanes[lane] += a[i] @ b[i]
    for order in (range(len(grid.lanes)), reversed(range(len(grid.lanes))), rng.permutation(len(grid.lanes))):
        total = ProductSum(grid, aligned)
        for i in (i for lane in order for i in grid.lanes[lane]):
            total.add(i, a[i], b[i], scratch)
        same_bits(total.total, tree_sum(lanes))


def test_a_sum_over_eight_shards_holds_four_arrays_at_most_if_they_end_in_order():
    grid, memory = grid_of(64, 8), Recycler()
    total, a = ProductSum(grid, memory.empty), np.ones((300, 2))
    for i in range(8):
        total.add(i, a, a.T, Scratch())
    assert (total.total == 16).all()
    assert sum(map(len, memory._blocks.values())) == 4


def part_of(grid, lanes):
    """The tiles of some lanes, as a batch of their own."""
    first = grid[grid.lanes[lanes][0].start].start
    return Grid([[slice(grid[i].start - first, grid[i].stop - first) for i in lane] for lane in grid.lanes[lanes]])


class Recorder(TileRunner):
    """It keeps what it was given to merge."""

    def merge(self, parts):
        self.seen = [*getattr(self, "seen", []), parts]
        return parts


class Second(TileRunner):
    """The one of two processes that has shards 4 to 7, with the numbers of the first from a record."""

    def merge(self, parts):
        every = self.record.pop(0)
        same_bits(parts, every[4:])
        return np.concatenate([every[:4], parts])


def statistics(grid, z, d, runner):
    """What a layer has after a step: slope and offset of its gradient, buffers, gradients."""
    layer = bn.BatchNorm2D(3, dtype=z.dtype)
    norms, sums = bn.BatchNorms([layer]), bn.Sums(grid, z)
    for i, tile in enumerate(grid):
        sums.add_up(i, z[tile], z[tile])
    with runner.whole_pass():
        norm = norms.normalize(z, sums, grid, runner)
        assert norm.pixels == 35 * 20
        back = bn.GradientSums(grid, z, norm)
        for i, tile in enumerate(grid):
            back.add_up(i, d[tile], z[tile])
        line = norms.backward(*back.over_batch(runner), norm, runner)
    return [*line, *layer.buffers.values(), *(p.grad for p in layer.params.values())]


@pytest.mark.parametrize("mean", [0, 40])  # with 40 a second pass subtracts the mean first
def test_batch_norm_is_the_same_if_another_process_has_half_of_the_shards(mean):
    rng = np.random.default_rng(0)
    z, d, grid = rng.normal(size=(35, 5, 4, 3)) + [mean, 0, 1], rng.normal(size=(35, 5, 4, 3)), grid_of(35, 2)
    first, second = Recorder(1), Second(1)
    whole = statistics(grid, z, d, first)
    assert len(first.seen) == (3 if mean else 2)
    second.record, split = first.seen, grid[grid.lanes[4].start].start
    half = statistics(part_of(grid, slice(4, 8)), z[split:], d[split:], second)
    assert second.record == []
    for a, b in zip(half, whole, strict=True):
        same_bits(a, b)
