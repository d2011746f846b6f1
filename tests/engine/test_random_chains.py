"""Both engines agree on networks of every kind; `python -m tests.engine.random_chains` goes on for longer."""

import copy
from unittest.mock import patch

import numpy as np
import pytest

from minidl.engine import fuse
from minidl.layers import LeakyReLU, Rule
from tests.engine.chains import (
    AvgPool,
    Block,
    Branches,
    Conv,
    Grouped,
    Layers,
    MaxPool,
    Own,
    network,
    random_rows,
    random_shape,
)
from tests.engine.random_chains import Case, composites_of, main, outcome, random_case, shortest, tried

EVERY_ACTIVATION = (None, "relu", "silu", 0.2, 0.0, -0.3)
POOL, POOL_1 = MaxPool(2, 2), MaxPool(2, 2, 1)
RANDOM = 25


def basic(width, stride=1, act="relu", **more):
    return Block((Conv(width, 3, stride, 1, act=act), Conv(width, 3, 1, 1)), act=act, **more)


def bottleneck(width, stride=1, act="relu", **more):
    body = (Conv(width, 1, act=act), Conv(width, 3, stride, 1, act=act), Conv(4 * width, 1))
    return Block(body, act=act, **more)


def module(act):
    one = Conv(3, 1, act=act)
    windows = [(Conv(9, 1, act=act), Conv(8, kernel, 1, kernel // 2, act=act)) for kernel in (3, 5)]
    return Branches(((one,), *windows, (AvgPool(3, 1, 1), one)))


def case(rows, shape=(3, 13, 12, 9), images="normal", gamma="any", need_dx=True, classes=0, tile=1000, seed=0):
    return Case(rows, shape, classes, images, gamma, ("C", "C"), need_dx, tile, Rule("deconv"), seed)


ROWS = {f"{name}, {act}": rows for act in EVERY_ACTIVATION for name, rows in {
    "convolution and pool": (Conv(9, 3, 1, 1, act=act), POOL),
    "inception and pool": (module(act), POOL_1),
    "residual": (basic(9, act=act), basic(11, 2, act=act), POOL),
}.items()}  # fmt: skip
ROWS |= {
    "bottlenecks": (bottleneck(4, projected=True), bottleneck(4), bottleneck(8, 2)),
    "ImageNet's stem": (Conv(9, 7, 2, 3), MaxPool(3, 2, 1), basic(9, projected=True)),
    "side by side": (Conv(8, 3, 1, 1, nested=False), basic(8, nested=False), POOL),
    "a user's container": (Own((Conv(9, 3, 1, 1), POOL)), Own((basic(9),))),
    "other windows": (
        *(Conv(8, 3, 1, 1), Grouped(12, (3, 3)), Layers(("relu", "hanging max")), basic(12)),
        *(Grouped(9, (1, 3), 1, 2), Layers(("tanh", "hanging mean")), module("silu"), Layers(("bins", "sigmoid"))),
    ),
    "pool padded at the start": (POOL_1, Conv(24, 5, 1, 2, bias=True), POOL_1, Conv(9, 3, 2)),
}


@pytest.mark.parametrize("name", ROWS)
def test_both_engines_agree_on_every_kind_of_block(name):
    assert outcome(case(ROWS[name])).kind == "equal"


@pytest.mark.parametrize("rows", [(Conv(5, 3, 1, 1), POOL), (basic(5), POOL), (module("relu"), POOL_1)])
@pytest.mark.parametrize("images, gamma", [("whole numbers", "any"), ("normal", "all zero"), ("normal", "some zero"),
                                           ("normal", "negative"), ("far from zero", "any")])  # fmt: skip
def test_they_agree_on_ties_and_on_gamma_of_every_sign(rows, images, gamma):
    found = outcome(case(rows, (3, 9, 8, 5), images, gamma, need_dx=False, classes=4))
    assert found.kind == "equal" or found.wrong.keys() == {"projection"}  # it folds BN, so exact ties are none there


@pytest.mark.parametrize("act", EVERY_ACTIVATION)
def test_where_all_pixels_of_a_pool_tie_the_first_gets_the_gradient(act):
    rows = (Conv(4, 1, act=act, bias=True), POOL)
    for images in ("zero", "constant"):
        assert outcome(case(rows, (2, 6, 6, 3), images)).kind == "equal"


def test_one_image():
    for rows in ((basic(8), POOL, module("silu")), (Conv(9, 3, 1, 1), POOL, bottleneck(4, 2))):
        assert outcome(case(rows, (1, 9, 11, 8))).kind == "equal"


def test_random_networks():
    kinds = [outcome(random_case(seed)).kind for seed in range(RANDOM)]
    assert "different" not in kinds
    assert kinds.count("equal") >= 0.9 * RANDOM  # hardly ever does a rounding error decide


def test_random_networks_have_parts_of_every_kind():
    rng = np.random.default_rng(0)
    rows = [row for _ in range(120) for row in random_rows(rng, random_shape(rng))]
    assert {Conv, MaxPool, AvgPool, Branches, Block, Own, Layers, Grouped} == {type(row) for row in rows}
    convolutions = [row for row in rows if isinstance(row, Conv)]
    assert {conv.act for conv in convolutions} == {*EVERY_ACTIVATION, 0.01}
    assert {(conv.kernel, conv.stride) for conv in convolutions} >= {(k, s) for k in (1, 3, 5, 7) for s in (1, 2)}
    blocks = [row for row in rows if isinstance(row, Block)]
    assert {(len(block.body), block.projected) for block in blocks} >= {(n, p) for n in (2, 3) for p in (False, True)}


def test_a_fault_of_the_engine_is_found_and_made_short(capsys):
    rows = (basic(3), Conv(4, 3, 1, 1), POOL, Conv(3, 1, act=0.2))
    assert tried(case(rows)).kind == "equal"

    def forgetful(model, threads):
        """An engine that takes a slope of 0.2 for 0.1."""
        fused = fuse(copy.deepcopy(model), threads)
        for leaf in fused.leaves():
            if isinstance(leaf, LeakyReLU):
                leaf.negative_slope = 0.1
        return fused

    with patch("tests.engine.random_chains.fused_on_nan", forgetful):
        found = tried(case(rows))
        assert found.kind == "different" and "y of inference" in found.wrong
        assert shortest(case(rows)).rows == rows[3:]
        with patch("tests.engine.random_chains.random_case", lambda seed: case(rows)):
            assert main([]) == 1
    assert "shortest: Case(rows=(" in capsys.readouterr().err


def test_a_long_run_says_what_it_met(capsys):
    assert main(["--only", "3"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("1 networks: ") and "composites: " in said
    assert sum(composites_of(fuse(network((Conv(3, 3), POOL), 3))).values()) == 1
