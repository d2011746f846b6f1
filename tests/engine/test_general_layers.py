"""General max pools work in tiles; the engine leaves other new layers plain, between composites: the same numbers."""

import numpy as np
import pytest

from minidl.engine import fuse, prepare
from minidl.engine.blocks.conv import ConvBlock
from minidl.engine.blocks.maxpool import FusedMaxPool
from minidl.engine.chain import _tiled
from minidl.layers import (
    INFER,
    PROBE,
    AdaptiveAvgPool2D,
    Flatten,
    GeneralAvgPool2D,
    GeneralConv2D,
    GeneralMaxPool2D,
    Linear,
    MaxPool2D,
    Rule,
    Sequential,
    Sigmoid,
    Tanh,
)
from tests.engine.test_fused import assert_same_step, block, renamed, same_bits, step
from tests.engine.test_recordings import recorded
from tests.strategies import randomized

F64 = np.float64
RNG = np.random.default_rng(5)
NEW = (GeneralConv2D, GeneralAvgPool2D, AdaptiveAvgPool2D, Sigmoid, Tanh)


def company():
    """Each new layer, with composites before and after it."""
    layers = {
        **renamed(block(3, 12, padding=1), "1"),
        "grouped": GeneralConv2D(12, 8, (3, 2), (1, 2), "same", groups=4, rng=0, dtype=F64),
        "tanh": Tanh(),
        "pool": GeneralMaxPool2D(3, 2, ceil_mode=True),
        **renamed(block(8, 9, padding=1), "2"),
        "whole": MaxPool2D(3, 1),
        "mean": GeneralAvgPool2D(2, 1, 1, count_include_pad=False),
        "sigmoid": Sigmoid(),
        "bins": AdaptiveAvgPool2D((3, 2)),
        "flat": Flatten(channels_first=True),
        "fc": Linear(54, 5, rng=0, dtype=F64),
    }
    return randomized(Sequential(layers), np.random.default_rng(0))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_training_step_is_that_of_the_plain_layers(threads):
    plain = company()
    fused = fuse(plain, threads)
    kinds = [type(leaf) for leaf in fused if isinstance(leaf, ConvBlock | FusedMaxPool)]
    assert kinds == [ConvBlock, FusedMaxPool, ConvBlock, FusedMaxPool]
    assert [leaf for leaf in fused if isinstance(leaf, NEW)] == [leaf for leaf in plain if isinstance(leaf, NEW)]
    x = RNG.normal(size=(5, 13, 12, 3))
    assert_same_step(plain, fused, x, RNG.normal(size=(5, 5)))


def test_any_number_of_threads_gives_the_same_bits():
    plain, x, dy = company(), RNG.normal(size=(5, 13, 12, 3)), RNG.normal(size=(5, 5))
    one, two = (step(fuse(plain, threads), x, dy) for threads in (1, 2))
    for a, b in zip(one, two, strict=True):
        for name in a if isinstance(a, dict) else ():
            same_bits(a[name], b[name])
        if not isinstance(a, dict):
            same_bits(a, b)


@pytest.mark.parametrize("threads", [1, 2])
def test_inference_takes_them_along_in_tiles_and_in_recordings(threads):
    plain = company()
    fused, prepared = fuse(plain, threads), prepare(plain, threads)
    assert _tiled(fused)
    for n in (1, 3, 17):
        x = RNG.normal(size=(n, 13, 12, 3))
        expected = plain.forward(x, INFER)[0]
        np.testing.assert_allclose(fused.forward(x, INFER)[0], expected, rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(recorded(prepared, x), expected, rtol=1e-11, atol=1e-11)
        same_bits(prepared.forward(-x, INFER)[0], fuse(plain).forward(-x, INFER)[0])


@pytest.mark.parametrize(
    "rule", [Rule(), Rule("guided"), Rule("deconv", "skip", "last"), Rule("deconv", "scale", "max")]
)
def test_projections_are_those_of_the_plain_layers(rule):
    plain, x = company(), RNG.normal(size=(3, 13, 12, 3))
    found = []
    for model in (plain, fuse(plain, 2)):
        y, cache = model.forward(x, PROBE)
        found.append(model.project(y, cache, rule))
    np.testing.assert_allclose(found[1], found[0], rtol=1e-11, atol=1e-11)
