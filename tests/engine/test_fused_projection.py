"""Projection on the fused engine against the plain layers: the same signals in float64, the same bits every time."""

from contextlib import ExitStack
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import assume, currently_in_test_context, given
from hypothesis import strategies as st

import models
from minidl.engine import fuse
from minidl.engine.blocks.activation import _PARTS, Activation
from minidl.engine.blocks.projection import BlockStep
from minidl.engine.projection import PlainStep, _steps, project_pairs, project_pairs_by
from minidl.engine.stem.parity import add_patches, fill_patches
from minidl.engine.stem.projection import StemStep
from minidl.engine.tiles.scratch import Scratch, Shelf
from minidl.errors import ShapeError
from minidl.layers import (
    INFER,
    PROBE,
    AvgPool2D,
    BatchNorm2D,
    Concat,
    Conv2D,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    Linear,
    MaxPool2D,
    ReLU,
    Rule,
    Sequential,
)
from minidl.layers.convert import convert
from models.inception import Inception, inception
from tests.engine.test_fused import Twice, block, close, not_a_number, renamed, same_bits, small_net, stem_net, vgg
from tests.engine.test_fused_inception import module, rows
from tests.strategies import arranged, cases, layouts, randomized, seeds
from tests.visual.test_truncate import refined

TOL = 1e-11
DECONVS = [Rule("deconv", bn, unpool) for bn in ("skip", "scale") for unpool in ("sum", "last", "max")]
RULES = [Rule(), Rule("guided"), *DECONVS]
rules = st.sampled_from(RULES)
every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda r: f"{r.name}-{r.bn}-{r.unpool}")
BORDERED = ("padded by", "box of", "spread")  # scratch memory that keeps zeros around what is written


class Poisoned(Scratch):
    """Scratch memory that is full of NaN whenever it is asked for: what is read before it is written shows."""

    def __call__(self, name, shape, dtype):
        array = super().__call__(name, shape, dtype)
        if not name.startswith(BORDERED):
            array[...] = not_a_number(None, shape, dtype)
        return array


class PoisonedShelf(Shelf):
    def take(self, turn):
        if not self:
            self.append(Poisoned())
        return super().take(turn)


def poisoned(model, threads=2):
    fused = fuse(model, threads)
    fused.runner._scratch = PoisonedShelf()
    return fused


class Squared(Layer):
    """A user's own layer with a cache and a rule of its own."""

    def forward(self, x, ctx):
        return x * x, (x if ctx.keeps_cache else None)

    def input_grad(self, dy, cache):
        return 2 * cache * dy

    def project(self, s, cache, rule):
        s *= np.abs(cache) if rule.name == "deconv" else 2 * cache  # in place
        return s


def seed_of(signals):
    """A seed function that looks at the outputs, too: what it is given must be those of the pairs' images."""
    return lambda a, pairs: signals[pairs] + a


def plain_projection(model, x, image, signals, rule):
    a, cache = model.forward(x[image], PROBE)
    return model.project(seed_of(signals)(a, slice(None)), cache, rule)


def pairs_of(model, shape, pairs, rng):
    """(images (N, H, W, C), image of each pair, signal of each pair); of several pairs some share an image."""
    x, image = rng.normal(size=shape), rng.integers(0, shape[0], pairs)
    return x, image, 3 * rng.normal(size=(pairs, *model.out_shape(shape)[1:]))


def hangs_on_rounding(model, x, image, signals, rule, want):
    """Whether the plain layers themselves give another answer where sums are rounded differently.

    Pixels with the same neighbours, as in a map that is constant because nothing came through a ReLU, give equal
    sums, up to rounding; which of them maxima in a max pool is then a matter of the order of additions.
    """
    rng = np.random.default_rng(0)

    def rounded_differently(forward):
        def jittered(x, ctx):
            y, cache = forward(x, ctx)
            return y + 1e-14 * np.abs(y).max() * rng.normal(size=y.shape), cache

        return jittered

    with ExitStack() as stack:
        for leaf in {id(leaf): leaf for leaf in model.leaves() if isinstance(leaf, Conv2D | AvgPool2D)}.values():
            stack.enter_context(patch.object(leaf, "forward", rounded_differently(leaf.forward)))
        other = plain_projection(model, x, image, signals, rule)
    return any(np.abs(a - b).max() > 1e-9 * np.abs(b).max() for a, b in zip(other, want, strict=True))


def check(model, shape, rule, pairs=5, seed=0, layout="C", zero_gamma=False):
    """Compares both engines for random parameters, images and signals."""
    rng = np.random.default_rng(seed)
    randomized(model, rng)
    for name, p in model.named_parameters().items():
        if zero_gamma and name.endswith(("gamma", "beta")):
            p.value[0] = 0 if name.endswith("gamma") else 0.5
    x, image, signals = pairs_of(model, shape, pairs, rng)
    x = arranged(x, layout)
    x.flags.writeable = signals.flags.writeable = False
    fused = poisoned(model)
    got = project_pairs(fused, x, image, seed_of(signals), rule)
    want = plain_projection(model, x, image, signals, rule)
    if currently_in_test_context():  # a random case
        assume(not hangs_on_rounding(model, x, image, signals, rule, want))
    for one, other in zip(got, want, strict=True):
        close(one, other, TOL)
    return fused


def steps_of(fused, shape, rule):
    return [type(step) for step in _steps(fused, np.zeros(shape), [rule])]


# ----------------------------------------------------------- which steps there are


def test_the_refined_nets_layers_take_their_fast_form():
    fused = fuse(refined())
    fast, plain = [StemStep, *[BlockStep] * 4], [PlainStep, *[BlockStep] * 4]
    for shape, rule, want in [
        ((1, 64, 64, 3), Rule(), fast),
        ((1, 64, 64, 3), Rule("guided", unpool="last"), fast),
        ((1, 64, 64, 3), Rule("deconv"), fast),
        ((1, 64, 64, 3), Rule("deconv", unpool="last"), plain),
        ((1, 64, 64, 3), Rule("deconv", unpool="max"), plain),
        ((1, 64, 63, 3), Rule(), plain),
        ((1, 63, 64, 3), Rule("deconv"), plain),
    ]:
        assert steps_of(fused, shape, rule) == want + [PlainStep] * 3
    nested = fuse(Sequential({"a": vgg(), "flat": Flatten()}))
    assert steps_of(nested, (1, 8, 8, 3), Rule()) == [BlockStep] * 4 + [PlainStep] * 3


def test_fast_steps_do_not_run_the_plain_layers():
    fused = fuse(randomized(refined(), np.random.default_rng(0)))
    x = np.random.default_rng(1).normal(size=(2, 32, 32, 3))
    composites = [layer for layer in fused.layers.values() if hasattr(layer, "plain")]
    assert len(composites) == 5
    for layer in composites:
        for leaf in layer.plain.leaves():
            leaf.forward = leaf.project = None
    project_pairs(fused, x, np.array([0, 1]), lambda a, pairs: np.ones_like(a), Rule("deconv"))


# -------------------------------------------------------------- equality, layer by layer


class Tripled(Layer):
    """A user's own activation, without a rule of its own."""

    def forward(self, x, ctx):
        return 3 * x, True if ctx.keeps_cache else None

    def input_grad(self, dy, cache):
        return 3 * dy


class TripledTile(Activation):
    slope_dtype = None

    def __init__(self, layer): ...

    def forward(self, u, slope, scratch):
        u *= 3
        if slope is not None:
            slope[...] = 3


@every_rule
def test_an_activation_without_a_gate_passes_its_gradient_by_all_rules(rule, monkeypatch):
    monkeypatch.setitem(_PARTS, Tripled, TripledTile)
    net = Sequential(block(3, 4, 3, 1, 1, False) | {"relu": Tripled(), "pool": MaxPool2D(2, 2)})
    fused = check(net, (3, 7, 8, 3), rule)
    assert steps_of(fused, (3, 7, 8, 3), rule) == [BlockStep]


@st.composite
def conv_cases(draw):
    """(H, W, arguments of `block`): the forms of Winograd, patches, strides, paddings, biases."""
    if draw(st.booleans()):
        kernel, stride = draw(st.sampled_from([3, 5, 7])), 1
        channels, filters = draw(st.sampled_from([(8, 9), (11, 8), (24, 32)]))
        padding, fits = kernel // 2, 1
    else:
        kernel, stride, padding = draw(st.integers(1, 5)), draw(st.integers(1, 3)), draw(st.integers(0, 5))
        channels, filters = draw(st.sampled_from([1, 3, 9])), draw(st.integers(1, 7))
        fits = max(1, kernel - 2 * padding)
    side = st.integers(fits, fits + 12)
    return draw(side), draw(side), (channels, filters, kernel, stride, padding, draw(st.booleans()))


some = st.integers(1, 4)
stem_sides = st.one_of(st.integers(3, 10).map(lambda half: 2 * half), st.integers(6, 21))


@pytest.mark.slow
@cases(100)
@given(conv_cases(), st.sampled_from([None, 0, 1]), some, st.integers(1, 20), rules, seeds, layouts,
       st.booleans())  # fmt: skip
def test_a_convolution_of_any_geometry_with_a_pool_or_without(case, pool, n, pairs, rule, seed, layout, zero_gamma):
    h, w, arguments = case
    layers = block(*arguments)
    if pool is not None and min(Sequential(layers).out_shape((n, h, w, arguments[0]))[1:3]) >= 2 - pool:
        layers["pool"] = MaxPool2D(2, 2, pool)
    fused = check(Sequential(layers), (n, h, w, arguments[0]), rule, pairs, seed, layout, zero_gamma)
    assert steps_of(fused, (n, h, w, arguments[0]), rule) == [BlockStep]


@pytest.mark.slow
@cases(80)
@given(
    rows, st.sampled_from([None, 0, 1]), some, st.integers(2, 9), st.integers(2, 9), st.integers(1, 9),
    st.integers(1, 20), rules, seeds, layouts, st.booleans(),
)  # fmt: skip
def test_any_module_on_any_geometry(row, pool, n, h, w, c, pairs, rule, seed, layout, zero_gamma):
    layers = {"module": module(c, row)} | ({} if pool is None else {"pool": MaxPool2D(2, 2, pool)})
    fused = check(Sequential(layers), (n, h, w, c), rule, pairs, seed, layout, zero_gamma)
    assert steps_of(fused, (n, h, w, c), rule) == [BlockStep]


@pytest.mark.slow
@cases(80)
@given(stem_sides, stem_sides, st.integers(1, 4), st.integers(1, 9), some, st.integers(1, 20), rules,
       seeds, layouts, st.booleans())  # fmt: skip
def test_the_stem_for_odd_and_even_sizes(h, w, c, filters, n, pairs, rule, seed, layout, zero_gamma):
    fused = check(stem_net(filters, c), (n, h, w, c), rule, pairs, seed, layout, zero_gamma)
    fast = h % 2 == w % 2 == 0 and not (rule.name == "deconv" and rule.unpool != "sum")
    assert steps_of(fused, (n, h, w, c), rule) == [StemStep if fast else PlainStep]


@cases(40)
@given(st.integers(1, 4), st.integers(3, 8), st.integers(3, 8), some, seeds)
def test_add_patches_is_the_transpose_of_fill_patches(c, h, w, n, seed):
    rng, scratch = np.random.default_rng(seed), Poisoned()
    x = rng.normal(size=(n, 2 * h, 2 * w, c))
    patches, y = np.empty((n, 9 * c + 1, 4, (h - 1) * w)), rng.normal(size=(n, 9 * c, 4, (h - 1), w))
    fill_patches(x, np.zeros(c), patches, scratch)
    y[..., -1] = 0  # no window is in the last column
    dx = np.full(x.shape, np.nan)
    add_patches(y.reshape(n, 9 * c, 4, -1), dx, scratch)
    assert np.vdot(patches[:, :-1], y) == pytest.approx(np.vdot(x, dx), rel=1e-11)


# --------------------------------------------------------------------- whole networks


def convnet():
    return models.build("convnet", 3, dropout=0.3, dtype=np.float64)


def strided():
    """Strides, pools of many kinds, chains in chains, a Concat that is no module, and layers that are left alone."""
    return Sequential(
        {
            "front": Sequential({"a": Sequential(block(3, 9, 3, 2, 1, True)), "pool": MaxPool2D(3, 2)}),
            "twice": Twice(),
            "split": Concat([{**block(9, 8, 3, padding=1)}, {"max": MaxPool2D(3, 1, 1)}, {"id": ReLU()}]),
            "down": Sequential({**block(26, 10, 5, 2, 2), "inner": Sequential({"bn": BatchNorm2D(10, dtype=float)})}),
            "average": AvgPool2D(2, 1, 1),
            "pool2": MaxPool2D(2, 2, 1),
            "flat": Flatten(),
            "drop": Dropout(0.5),
        }
    )


def with_modules():
    """A module first, pools that stay on their own and pools that join, a module in a chain in a chain."""
    rng = np.random.default_rng(0)
    return Sequential(
        {
            "m1": inception(3, Inception(9, 8, 9, 2, 8, 9), rng, np.float64),
            "pool1": MaxPool2D(3, 2, 1),
            "in": Sequential({"in": Sequential({"m2": paper_of(35), "pool": MaxPool2D(2, 2, 1)}), "twice": Twice()}),
            "gap": GlobalAvgPool(),
            "fc": Linear(25, 3, rng=rng, dtype=np.float64),
        }
    )


def paper_of(channels):
    return inception(channels, Inception(4, 9, 10, 8, 8, 3), np.random.default_rng(1), np.float64)


NETS = {
    "refined": (refined, (3, 32, 32, 3)),
    "refined, wide": (refined, (3, 34, 40, 3)),
    "refined, odd": (refined, (3, 33, 35, 3)),
    "convnet": (convnet, (3, 17, 16, 3)),
    "vgg": (vgg, (3, 12, 13, 3)),
    "small": (small_net, (3, 16, 14, 3)),
    "strided": (strided, (3, 27, 22, 3)),
    "modules": (with_modules, (3, 11, 12, 3)),
}


def convolutions(c):
    return st.builds(
        lambda filters, kernel, stride: Sequential(block(c, filters, kernel, stride, kernel // 2, bias=True)),
        st.sampled_from([2, 9, 16]), st.sampled_from([1, 3, 5]), st.integers(1, 2),
    )  # fmt: skip


def others(c):
    pools = st.sampled_from([(2, 2), (2, 2, 1), (2, 1), (3, 2), (3, 2, 1), (4, 2)])
    return st.one_of(
        pools.map(lambda geometry: MaxPool2D(*geometry)),
        st.sampled_from([1, 2]).map(lambda stride: AvgPool2D(3, stride, 1)),
        st.sampled_from([ReLU, Squared, lambda: BatchNorm2D(c, dtype=np.float64)]).map(lambda make: make()),
    )


@st.composite
def chains(draw):
    """(model, input shape): up to seven layers of all kinds, some in chains of their own, that fit one another."""
    shape = first = (draw(some), draw(st.integers(4, 16)), draw(st.integers(4, 16)), draw(st.sampled_from([1, 3, 9])))
    layers = {}
    for i in range(draw(st.integers(1, 7))):
        c = shape[3]
        layer = draw(st.one_of(convolutions(c), rows.map(lambda row, c=c: module(c, row)), others(c)))
        try:
            shape = layer.out_shape(shape)
        except ShapeError:  # a pool's window does not fit
            continue
        layers[str(i)] = Sequential({"in": Sequential({"in": layer})}) if draw(st.integers(0, 3)) == 0 else layer
    if draw(st.booleans()):
        layers |= {"gap": GlobalAvgPool(), "drop": Dropout(0.5), "fc": Linear(shape[3], 3, rng=0, dtype=np.float64)}
    return Sequential(layers or {"relu": ReLU()}), first


@cases(60)
@given(chains(), st.integers(1, 12), rules, seeds, layouts)
def test_any_chain(case, pairs, rule, seed, layout):
    model, shape = case
    check(model, shape, rule, pairs, seed, layout)


@every_rule
@pytest.mark.parametrize("net", NETS)
def test_a_whole_network(net, rule):
    make, shape = NETS[net]
    check(make(), shape, rule, pairs=11)


@pytest.mark.parametrize("pairs", [1, 2, 3, 8, 9, 33, 40])
def test_any_number_of_pairs(pairs):
    check(refined(), (5, 32, 32, 3), Rule("deconv"), pairs, pairs)


@pytest.mark.parametrize("task_pairs", [1, 3, 16])
@pytest.mark.parametrize("image", [[0, 0, 0, 1, 1, 2, 2, 2, 2], [2, 0, 1, 2, 0, 2, 2, 1, 0], [1] * 9, [*range(9)]])
def test_pairs_of_any_order_in_tasks_of_any_size(image, task_pairs):
    model = randomized(refined(), np.random.default_rng(0))
    x, _, signals = pairs_of(model, (9, 32, 32, 3), 9, np.random.default_rng(1))
    for rule in (Rule("guided"), Rule("deconv")):
        with patch("minidl.engine.projection.TASK_PAIRS", task_pairs):
            got = project_pairs(poisoned(model), x, np.array(image), seed_of(signals), rule)
        close(got, plain_projection(model, x, np.array(image), signals, rule), TOL)


# ------------------------------------------------------------------- several rules at once


@pytest.mark.parametrize("net", NETS)
def test_rules_that_share_a_forward_pass_give_the_bits_of_each_alone(net):
    make, shape = NETS[net]
    model = randomized(make(), np.random.default_rng(0))
    x, image, signals = pairs_of(model, shape, 11, np.random.default_rng(1))
    ways = [(rule, seed_of(k * signals)) for k, rule in enumerate((*RULES[:3], Rule("guided"), RULES[5]), 1)]
    fused = poisoned(model)
    together = project_pairs_by(fused, x, image, ways)
    assert together.shape == (5, 11, *shape[1:]) and not np.array_equal(together[1], together[3])
    for (rule, seed), one in zip(ways, together, strict=True):
        same_bits(one, project_pairs(fused, x, image, seed, rule))


def test_a_rule_that_needs_the_plain_stem_takes_the_others_with_it():
    model = randomized(refined(), np.random.default_rng(0))
    x, image, signals = pairs_of(model, (3, 32, 32, 3), 7, np.random.default_rng(1))
    fused, mixed = poisoned(model), [Rule(), Rule("deconv"), Rule("deconv", unpool="last")]
    assert [type(step) for step in _steps(fused, x, mixed)][0] is PlainStep
    for rule, got in zip(
        mixed, project_pairs_by(fused, x, image, [(r, seed_of(signals)) for r in mixed]), strict=True
    ):
        close(got, plain_projection(model, x, image, signals, rule), TOL)


# ------------------------------------------------------------------- ties and zeros


EPS = 1e-5
assert np.sqrt(1 - EPS + EPS) == 1


def exact(model, rng):
    """Random whole parameters, so that both engines compute without rounding: ties are ties, equal is equal."""
    for name, p in model.named_parameters().items():
        p.value[...] = rng.integers(-1, 2, p.value.shape)
        if name.endswith("gamma"):
            p.value[...] = rng.choice([-2, -1, 0.5, 1, 2, 0], p.value.shape)
    for name, b in model.named_buffers().items():
        b[...] = 1 - EPS if name.endswith("var") else rng.integers(-2, 3, b.shape)
    return model


def without_average():
    """A module without an average pool, whose 1/9 is rounded."""
    return module(4, [("1", 3), ("1", 2, "3", 4), ("1", 3, "5", 2)])


EXACT = {
    "stem": (stem_net, 3),
    "2x2": (lambda: Sequential({**block(2, 5, padding=1), "pool": MaxPool2D(2)}), 2),
    "2x2, padding 1": (lambda: Sequential({**block(2, 5), "pool": MaxPool2D(2, 2, 1)}), 2),
    "module": (lambda: Sequential({"m": without_average(), "pool": MaxPool2D(2, 2, 1)}), 4),
    "pools alone": (lambda: Sequential({"relu": ReLU(), "a": MaxPool2D(2, 2, 1), "b": MaxPool2D(3, 1, 1)}), 2),
}


@pytest.mark.parametrize("net", EXACT)
@cases(25)
@given(st.integers(6, 11), st.integers(6, 11), st.integers(1, 3), rules, seeds)
def test_where_pixels_tie_the_same_one_wins(net, h, w, levels, rule, seed):
    make, channels = EXACT[net]
    rng = np.random.default_rng(seed)
    model = exact(make(), rng)
    x = rng.integers(-levels, levels + 1, (3, h, w, channels)).astype(float)
    signals = rng.integers(-9, 10, (5, *model.out_shape(x.shape)[1:])).astype(float)
    image = rng.integers(0, 3, 5)
    got = project_pairs(poisoned(model), x, image, seed_of(signals), rule)
    same_bits(got, plain_projection(model, x, image, signals, rule))


def identity(kernel, pool):
    """A convolution that hands on one pixel of its window and nothing else, BN that does nothing, ReLU and a pool."""
    model = Sequential({**block(1, 1, kernel), "pool": MaxPool2D(*pool)})
    exact(model, np.random.default_rng(0))
    params = model.named_parameters()
    params["conv.weight"].value[...] = 0
    params["conv.weight"].value[0, 0] = params["bn.gamma"].value[...] = 1
    params["bn.beta"].value[...] = model.named_buffers()["bn.running_mean"][...] = 0
    return model


@pytest.mark.parametrize(
    ("kernel", "pool", "at"),
    [
        (3, (4, 2), {(0, 0): (0, 0), (0, 1): (0, 2), (1, 0): (2, 0), (2, 2): (4, 4)}),
        (1, (2, 2), {(0, 0): (0, 0), (0, 1): (0, 2), (3, 2): (6, 4)}),
        (1, (2, 2, 1), {(0, 0): (0, 0), (0, 1): (0, 1), (1, 0): (1, 0), (1, 1): (1, 1), (5, 5): (9, 9)}),
    ],
)
def test_the_first_pixel_of_a_window_without_a_positive_value_wins(kernel, pool, at):
    model, x = identity(kernel, pool), -1 - np.random.default_rng(0).random((1, 10, 10, 1))
    fused = poisoned(model)
    assert steps_of(fused, x.shape, Rule("deconv")) == [StemStep if pool == (4, 2) else BlockStep]
    for place, pixel in at.items():
        signal = np.zeros(model.out_shape(x.shape))
        signal[(0, *place, 0)] = 7
        seed = lambda a, pairs, signal=signal: a + signal  # noqa: E731
        found = project_pairs(fused, x, np.array([0]), seed, Rule("deconv"))
        assert np.argwhere(found[0, :, :, 0]).tolist() == [list(pixel)] and found.sum() == 7
        for rule in (Rule(), Rule("guided")):  # a ReLU that is closed lets nothing through
            assert not project_pairs(fused, x, np.array([0]), seed, rule).any()


def test_windows_that_share_a_maximum_add_up_before_the_signal_is_rectified():
    model, x = identity(3, (4, 2)), np.zeros((1, 8, 8, 1))
    x[0, 3, 3] = 1  # in all four windows
    signal = np.array([5.0, -3, -4, 1]).reshape(1, 2, 2, 1)
    for rule, value in ((Rule(), -1), (Rule("guided"), 0), (Rule("deconv"), 0)):
        found = project_pairs(fuse(model), x, np.array([0]), lambda a, pairs: signal, rule)
        assert found[0, 3, 3, 0] == value and np.count_nonzero(found) == abs(value)


@every_rule
@pytest.mark.parametrize("what", ["dead", "black", "gamma 0", "negative"])
def test_numbers_out_of_the_common(what, rule):
    model, rng = randomized(refined(), np.random.default_rng(0)), np.random.default_rng(1)
    for name, p in model.named_parameters().items():
        if name.endswith("beta") and what == "dead":
            p.value[...] = -100
        if name.endswith("gamma"):
            p.value[...] = -np.abs(p.value) if what == "negative" else p.value
            p.value[1::2] *= what != "gamma 0"
    x, image, signals = pairs_of(model, (2, 32, 34, 3), 5, rng)
    x *= what != "black"
    model = Sequential({name: model.layers[name] for name in ("stem", "pool1", "inception1", "inception2")})
    signals = 3 * rng.normal(size=(5, *model.out_shape(x.shape)[1:]))
    got = project_pairs(poisoned(model), x, image, seed_of(signals), rule)
    close(got, plain_projection(model, x, image, signals, rule), TOL)


# --------------------------------------------------- the same every time, and nothing else


@pytest.mark.parametrize("net", ["refined", "strided", "vgg"])
def test_one_two_and_three_threads_give_the_same_bits(net):
    make, shape = NETS[net]
    model = randomized(make(), np.random.default_rng(0))
    x, image, signals = pairs_of(model, shape, 37, np.random.default_rng(1))
    for rule in (Rule("guided"), Rule("deconv")):
        one, *others = (project_pairs(fuse(model, t), x, image, seed_of(signals), rule) for t in (1, 2, 3))
        for other in others:
            same_bits(other, one)


@pytest.mark.slow
def test_what_was_projected_before_leaves_no_trace():
    model = randomized(refined(), np.random.default_rng(0))
    fused, rng = fuse(model, 2), np.random.default_rng(1)
    x, image, signals = pairs_of(model, (3, 32, 32, 3), 9, rng)
    first = {rule: project_pairs(fused, x, image, seed_of(signals), rule) for rule in RULES}
    kept = {rule: a.copy() for rule, a in first.items()}
    for _ in range(2):
        for shape, pairs in (((3, 32, 32, 3), 9), ((2, 40, 34, 3), 5), ((4, 33, 32, 3), 20), ((1, 32, 32, 3), 1)):
            other = pairs_of(model, shape, pairs, rng)
            project_pairs(fused, other[0] * 100, other[1], seed_of(other[2]), rng.choice(RULES))
            fused.forward(other[0], INFER)
        for rule in RULES:
            same_bits(project_pairs(fused, x, image, seed_of(signals), rule), kept[rule])
    for rule in RULES:
        same_bits(first[rule], kept[rule])  # no scratch memory came out


@every_rule
@pytest.mark.parametrize("net", NETS)
def test_a_signal_four_times_as_large_comes_back_four_times_as_large(net, rule):
    make, shape = NETS[net]
    model = randomized(make(), np.random.default_rng(0))
    x, image, signals = pairs_of(model, shape, 3, np.random.default_rng(1))
    once, four = (
        project_pairs(fuse(model), x, image, lambda a, pairs, c=c: c * signals[pairs], rule) for c in (1, 4)
    )
    assert once.any()
    same_bits(four, 4 * once)


def test_new_weights_and_statistics_are_seen():
    model = randomized(refined(), np.random.default_rng(0))
    fused = fuse(model)
    x, image, signals = pairs_of(model, (3, 32, 32, 3), 5, np.random.default_rng(1))
    project_pairs(fused, x, image, seed_of(signals), Rule())
    randomized(model, np.random.default_rng(2))
    got = project_pairs(fused, x, image, seed_of(signals), Rule())
    close(got, plain_projection(model, x, image, signals, Rule()), TOL)


def test_neither_model_nor_images_nor_gradients_change():
    model = randomized(refined(), np.random.default_rng(0))
    x, image, signals = pairs_of(model, (3, 32, 32, 3), 5, np.random.default_rng(1))
    for p in model.named_parameters().values():
        p.grad[...] = 7

    def state():
        named = {n: (p.value.tobytes(), p.grad.tobytes()) for n, p in model.named_parameters().items()}
        buffers = {n: b.tobytes() for n, b in model.named_buffers().items()}
        return named, buffers, list(model.named_layers()), x.tobytes(), image.tobytes(), signals.tobytes()

    before, fused = state(), fuse(model)
    for rule in RULES:
        project_pairs(fused, x, image, lambda a, pairs: signals[pairs], rule)
    assert state() == before


def test_a_seed_gets_the_outputs_of_its_pairs_as_an_array_of_its_own():
    model = randomized(vgg(), np.random.default_rng(0)).layers
    model = Sequential({name: layer for name, layer in model.items() if name not in ("gap", "fc")})
    rng = np.random.default_rng(1)
    x, image = rng.normal(size=(4, 12, 12, 3)), np.array([3, 1, 1, 0, 2, 3, 3, 3, 0, 1, 2, 2, 0])
    seen = {}

    def seed(a, pairs):
        seen[pairs.start] = (pairs, a, a.copy())
        return np.ones_like(a)

    project_pairs(fuse(model, 3), x, image, seed, Rule())
    assert sorted(i for pairs, _, _ in seen.values() for i in range(pairs.start, pairs.stop)) == list(range(13))
    outputs = model.forward(x, INFER)[0]
    for pairs, a, copy in seen.values():
        same_bits(a, copy)
        close(a, outputs[image[pairs]])


def test_an_error_in_a_seed_reaches_the_caller():
    def seed(a, pairs):
        raise ZeroDivisionError

    fused = fuse(randomized(refined(), np.random.default_rng(0)), 3)
    with pytest.raises(ZeroDivisionError):
        project_pairs(fused, np.ones((9, 32, 32, 3)), np.arange(9), seed, Rule())


@pytest.mark.parametrize("make", [lambda: Sequential(block(9, 9, padding=1)), lambda: inception9()])
def test_a_layer_may_stand_at_two_places(make):
    layer = make()
    model = Sequential({"a": layer, "b": layer, "c": Sequential({"a": layer}), **renamed(block(9, 8), "2")})
    for rule in RULES[:3]:
        check(model, (2, 6, 7, 9), rule)


def test_layers_of_the_same_shapes_keep_what_they_need_apart():
    """Convolutions with more padding turn 2x2 into 4x4 and pools turn it back: maps, winners and signals alike."""
    layers = {}
    for i in range(3):
        layers[f"a{i}"] = Sequential({**block(9, 9, padding=2), "pool": MaxPool2D(2)})
        layers[f"b{i}"] = Sequential(block(9, 9, padding=2))
        layers[f"m{i}"] = Sequential({"m": inception9(), "pool": MaxPool2D(2)})
        layers[f"c{i}"] = Sequential(block(9, 9, padding=1))
    for rule in RULES[:3]:
        check(Sequential(layers), (3, 2, 2, 9), rule, 9)


def inception9():
    return inception(9, Inception(2, 3, 2, 2, 3, 2), np.random.default_rng(0), np.float64)


@every_rule
def test_a_users_own_layer_takes_part(rule):
    layers = {**block(3, 9, padding=1), "own": Squared(), **renamed(block(9, 5, 3), "2")}
    check(Sequential(layers), (3, 8, 7, 3), rule)


@every_rule
def test_float32_stays_float32_and_is_near_float64(rule):
    exact_model = randomized(refined(), np.random.default_rng(0))
    model = convert(exact_model, dtype=np.float32)
    x, image = np.random.default_rng(1).normal(size=(2, 32, 32, 3)).astype(np.float32), np.array([0, 1, 1])
    got = project_pairs(fuse(model), x, image, lambda a, pairs: np.ones_like(a), rule)
    assert got.dtype == np.float32
    want = project_pairs(fuse(exact_model), x.astype(float), image, lambda a, pairs: np.ones_like(a), rule)
    far = np.abs(got - want) > 1e-4 * np.abs(want).max()
    assert far.mean() < 0.02  # where two pixels of a window are next to equal, another one may win
