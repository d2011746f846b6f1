"""From units back to the pixels: seeds by hand, whole networks by their identities, many units and images at once."""

import tracemalloc
from unittest.mock import patch

import numpy as np
import pytest

import models
from minidl.engine.projection import project_pairs_by
from minidl.engine.stem.projection import StemStep
from minidl.errors import UsageError
from minidl.layers import (
    INFER,
    PROBE,
    BatchNorm2D,
    Concat,
    Conv2D,
    Flatten,
    Linear,
    MaxPool2D,
    ReLU,
    Rule,
    Sequential,
)
from minidl.visual.projection import NORMS, RULE_SEEDS, SEEDS, Projector, negative_gammas, project_units, seed
from minidl.visual.truncate import truncate
from tests.engine.test_fused_projection import every_rule
from tests.layers.test_layers import captums_network
from tests.strategies import randomized
from tests.visual.test_truncate import refined

GRADIENT, GUIDED, DECONV = (Rule(name) for name in ("gradient", "guided", "deconv"))
LAYERS = ["stem", "pool1", "inception1.b3", "pool2", "inception2.b5_reduce", "inception3", "inception4.pool", "fc"]
some_layers = pytest.mark.parametrize("layer", LAYERS)
few_layers = pytest.mark.parametrize("layer", ["pool1", "inception2.b5_reduce", "inception4.pool", "fc"])
both_engines = pytest.mark.parametrize("engine", ["fused", "plain"])


@pytest.fixture
def net():
    return randomized(refined(), np.random.default_rng(0))


def images(n=3, h=24, w=28, seed=1):
    return np.random.default_rng(seed).normal(size=(n, h, w, 3))


def live_units(model, layer, x, count):
    """(image, units): the first units of a layer that answer to an image."""
    a = truncate(model, layer).forward(x, INFER)[0]
    answers = np.abs(a).reshape(len(x), -1, a.shape[-1]).max(axis=1)  # (N, H, W, C) -> (N, H W, C)
    image, units = np.nonzero(answers > 0)
    chosen = np.linspace(0, len(image) - 1, count).astype(int)
    return image[chosen], units[chosen]


def near(got, want, tol=1e-10, size=None):
    """Equal to `tol` of the largest number in `want`, which is not zero everywhere."""
    size = np.abs(want).max() if size is None else size
    assert size > 0
    np.testing.assert_allclose(got, want, rtol=0, atol=tol * size)


def overwritten(layer, rule):
    """Whether a one-hot seed is lost at once: its window shares its maximum with a later one, where the seed is 0."""
    return layer == "pool1" and rule.name == "deconv" and rule.unpool == "last"


# ------------------------------------------------------------------------- seeds

MAPS = {  # rows of a 2x2 map: what each kind of seed puts there
    "first of equals": ([[1, 2], [2, 0]], [[0, 1], [0, 0]], [[1, 2], [2, 0]], [[0, 2], [0, 0]]),
    "negative": ([[1, 0], [-4, 2]], [[0, 0], [-1, 0]], [[1, 0], [-4, 2]], [[0, 0], [-4, 0]]),
    "equal but for the sign": ([[0, -3], [3, 0]], [[0, -1], [0, 0]], [[0, -3], [3, 0]], [[0, -3], [0, 0]]),
    "small": ([[0.03, 0], [-0.04, 0]], [[0, 0], [-1, 0]], [[0.03, 0], [-0.04, 0]], [[0, 0], [-0.04, 0]]),
    "zero": ([[0, 0], [0, 0]], [[0, 0], [0, 0]], [[0, 0], [0, 0]], [[0, 0], [0, 0]]),
}


@pytest.mark.parametrize("name", MAPS)
def test_a_seed_on_a_map_of_four_pixels(name):
    m, one_hot, whole, largest = (np.array(rows, float) for rows in MAPS[name])
    a = np.full((3, 2, 2, 5), 7.0)  # other images and channels: nothing of them may come through
    a[1, :, :, 3] = m
    expected = {
        ("norm", "inf"): one_hot,
        ("norm", "l2"): m / (np.sqrt((m**2).sum()) or 1),
        **{("map", norm): whole for norm in NORMS},
        **{("max", norm): largest for norm in NORMS},
        **{("ones", norm): np.ones((2, 2)) for norm in NORMS},
    }
    assert {(kind, norm) for kind in SEEDS for norm in NORMS} == expected.keys()
    for (kind, norm), want in expected.items():
        s = seed(a, np.array([4, 3, 0]), norm, kind)
        assert s.shape == a.shape and s.dtype == a.dtype
        np.testing.assert_allclose(s[1, :, :, 3], want, rtol=1e-15)
        s[1, :, :, 3] = s[0, :, :, 4] = s[2, :, :, 0] = 0
        assert not s.any()
    assert (a[1, :, :, 3] == m).all() and (np.delete(a, 3, axis=3) == 7).all()


def test_a_seed_at_a_vector_of_features():
    a = np.array([[3.0, -5, 0], [3, -5, 0], [3, -5, 0]])
    expected = {"norm": [1, -1, 0], "map": [3, -5, 0], "max": [3, -5, 0], "ones": [1, 1, 1]}
    for kind, values in expected.items():
        for norm in NORMS:
            np.testing.assert_array_equal(seed(a, np.array([0, 1, 2]), norm, kind), np.diag(values))


@pytest.mark.parametrize("norm", NORMS)
def test_the_seed_norm_is_the_derivative_of_the_norm(norm):
    rng = np.random.default_rng(0)
    a, units = rng.normal(size=(4, 3, 5, 6)), np.array([2, 0, 5, 2])
    ord = {"inf": np.inf, "l2": 2}[norm]

    def norms(a):
        return np.array([np.linalg.norm(a[n, :, :, u].ravel(), ord) for n, u in enumerate(units)])

    s = seed(a, units, norm, "norm")
    for _ in range(5):
        v = rng.normal(size=a.shape)
        numeric = (norms(a + 1e-6 * v) - norms(a - 1e-6 * v)) / 2e-6
        np.testing.assert_allclose((s * v).sum(axis=(1, 2, 3)), numeric, rtol=1e-7, atol=1e-8)


def test_a_seed_keeps_float32():
    a = np.random.default_rng(0).normal(size=(2, 3, 3, 2)).astype(np.float32)
    assert {seed(a, np.array([0, 1]), norm, kind).dtype for norm in NORMS for kind in SEEDS} == {np.dtype(np.float32)}


# ----------------------------------------------------------------- the projector


@both_engines
@pytest.mark.parametrize(
    ("rule", "pixels"),
    [
        (GRADIENT, [[0, 1, 1, 1], [0, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]]),
        (GUIDED, [[0, 1, 1, 1], [1, 3, 3, 2], [1, 3, 3, 2], [1, 2, 2, 1]]),
        (DECONV, [[2, 3, 3, 1], [3, 5, 5, 2], [3, 5, 5, 2], [1, 2, 2, 1]]),  # Captum's own golden value
    ],
    ids=["gradient", "guided", "deconv"],
)
def test_captums_network_gives_its_golden_values(rule, pixels, engine):
    model, x, _ = captums_network()
    for kind, factor in (("norm", 1), ("ones", 1), ("map", 54), ("max", 54)):  # 0 + 4 + 31 + 40 + 0 - (0 + 6 + 15)
        for norm in NORMS:
            projector = Projector(model, "4", rule, norm=norm, seed_map=kind, engine=engine)
            assert (projector(x, [0], [0])[0, :, :, 0] / factor).tolist() == pixels


@every_rule
@some_layers
def test_both_engines_give_the_same_signals(net, layer, rule):
    x = images()
    image, units = live_units(net, layer, x, 11)
    order = np.random.default_rng(2).permutation(11)
    seeds = [("norm", "inf"), ("map", "l2")]
    for kind, norm in seeds if rule == GRADIENT else seeds[1:]:  # a seed does not know the rule
        fused, plain = (
            Projector(net, layer, rule, norm=norm, seed_map=kind, engine=engine, threads=2)
            for engine in ("fused", "plain")
        )
        want = plain(x, image, units)
        near(fused(x, image[order], units[order]), want[order], 1e-11, 1 if overwritten(layer, rule) else None)


@both_engines
def test_each_signal_belongs_to_its_own_unit_and_image(net, engine):
    x, projector = images(), Projector(net, "inception2.b3", DECONV, engine=engine, threads=1)
    image, units = live_units(net, "inception2.b3", x, 19)
    order = np.random.default_rng(0).permutation(19)
    together = projector(x, image[order], units[order])
    assert together.shape == (19, 24, 28, 3)
    for signal, i, u in zip(together, image[order], units[order], strict=True):
        near(signal, projector(x[i : i + 1], [0], [u])[0], 1e-12)


@both_engines
def test_the_same_pair_twice_is_projected_twice(net, engine):
    x, projector = images(), Projector(net, "pool2", GUIDED, engine=engine, threads=1)
    image, units = live_units(net, "pool2", x, 1)
    one, two, three = projector(x, np.repeat(image, 3), np.repeat(units, 3))
    near(two, one, 1e-13)
    near(three, one, 1e-13)


@both_engines
@pytest.mark.parametrize("n", [0, 3])
def test_no_pairs_give_no_signals(net, engine, n):
    assert Projector(net, "pool2", DECONV, engine=engine)(images()[:n], [], []).shape == (0, 24, 28, 3)


@pytest.mark.parametrize(("engine", "plain_passes", "fused_passes"), [("fused", 0, 1), ("plain", 1, 0)])
def test_the_engine_asked_for_does_the_work(net, engine, plain_passes, fused_passes):
    projector = Projector(net, "pool2", DECONV, engine=engine, threads=3)
    assert projector.fused is None or projector.fused.runner.threads == 3
    plain = patch.object(projector.plain, "project", wraps=projector.plain.project)
    with plain as plain, patch("minidl.visual.projection.project_pairs_by", wraps=project_pairs_by) as fused:
        projector(images(), [0], [0])
    assert (plain.call_count, fused.call_count) == (plain_passes, fused_passes)


@pytest.mark.parametrize("rule", [DECONV, RULE_SEEDS], ids=["one rule", "three rules"])
def test_pairs_of_one_image_share_its_way_up(net, rule):
    projector, seen = Projector(net, "pool2", rule, threads=1), []

    def forward(self, x, scratch, forward=StemStep.forward):
        seen.append(len(x))
        return forward(self, x, scratch)

    with patch.object(StemStep, "forward", forward):
        projector(images(), np.arange(24) % 3, np.arange(24) % 16)  # 3 images in 4 tasks
    assert sum(seen) == 6


@both_engines
@few_layers
def test_several_rules_give_what_each_gives_alone_with_its_own_seed(net, layer, engine):
    x = images()
    image, units = live_units(net, layer, x, 11)
    together = Projector(net, layer, RULE_SEEDS, norm="inf", engine=engine)(x, image, units)
    assert together.shape == (3, 11, 24, 28, 3)
    for (rule, kind), got in zip(RULE_SEEDS.items(), together, strict=True):
        alone = Projector(net, layer, rule, norm="inf", seed_map=kind, engine=engine)(x, image, units)
        np.testing.assert_array_equal(got, alone)


def test_several_rules_share_the_way_up_in_plain_layers(net):
    projector = Projector(net, "pool2", RULE_SEEDS, engine="plain")
    with patch.object(projector.plain, "forward", wraps=projector.plain.forward) as forward:
        projector(images(), [0, 1, 2], [0, 1, 2])
    assert forward.call_count == 1


def test_plain_layers_take_pairs_a_few_at_a_time(net):
    x, projector = images(), Projector(net, "pool2", DECONV, engine="plain")
    image, units = live_units(net, "pool2", x, 7)
    want = projector(x, image, units)
    with patch("minidl.visual.projection.PLAIN_PAIRS", 3):
        near(projector(x, image, units), want, 1e-13)


def test_a_model_that_is_no_chain_is_projected_by_plain_layers():
    model = Concat([{"a": Conv2D(3, 2, 3, rng=0, dtype=float), "relu": ReLU()}, {"pool": MaxPool2D(3, 1)}])
    x = images()
    for engine in ("fused", "plain"):
        signal = Projector(model, "", GRADIENT, seed_map="max", engine=engine)(x, [1], [3])  # 3: the pool's second
        assert np.count_nonzero(signal) == 1 and signal[0, :, :, 1].max() == np.abs(x[1, :, :, 1]).max()


@both_engines
def test_the_projector_changes_neither_the_model_nor_its_input(net, engine):
    for p in net.named_parameters().values():
        p.grad[...] = 7
    x = images()

    def state():
        arrays = [a for p in net.named_parameters().values() for a in (p.value, p.grad)]
        arrays += [*net.named_buffers().values(), x]
        return [a.tobytes() for a in arrays], list(net.named_parameters()), list(net.named_layers())

    before = state()
    x.flags.writeable = False
    for layer in LAYERS:
        for rule in (GRADIENT, GUIDED, DECONV):
            Projector(net, layer, rule, engine=engine)(x, [0, 2], [0, 0])
    assert state() == before


@both_engines
def test_new_weights_are_seen(net, engine):
    x, projector = images(), Projector(net, "pool2", GRADIENT, engine=engine)
    projector(x, [0], [0])
    randomized(net, np.random.default_rng(9))
    image, units = live_units(net, "pool2", x, 3)
    np.testing.assert_array_equal(
        projector(x, image, units), Projector(net, "pool2", GRADIENT, engine=engine)(x, image, units)
    )


def test_the_strength_of_a_unit_is_the_norm_of_its_map_and_that_of_a_score_the_score(net):
    x = images()
    np.testing.assert_array_equal(Projector(net, "fc", GRADIENT).strengths(x), net.forward(x, INFER)[0])
    for layer in ("stem", "inception2.b3"):
        a = truncate(net, layer).forward(x, INFER)[0]
        for norm, ord in (("inf", np.inf), ("l2", 2)):
            got = Projector(net, layer, GRADIENT, norm=norm).strengths(x)
            want = [[np.linalg.norm(image[..., u].ravel(), ord) for u in range(a.shape[-1])] for image in a]
            np.testing.assert_allclose(got, want, rtol=1e-12)


# ------------------------------------------------ identities of the whole network


@both_engines
@some_layers
def test_the_gradient_is_the_adjoint_of_the_networks_derivative(net, layer, engine):
    """<J v, s> = <v, J' s> while no switch of a pool or ReLU changes; s is one all over the unit's map."""
    x, rng = images(), np.random.default_rng(3)
    image, units = live_units(net, layer, x, 6)
    part = truncate(net, layer)
    back = Projector(net, layer, GRADIENT, seed_map="ones", engine=engine)(x, image, units)
    v, step = rng.normal(size=x.shape), 1e-7
    below, above = (part.forward(x + h * v, INFER)[0] for h in (-step, step))
    for i, u, signal in zip(image, units, back, strict=True):
        numeric = (above[i, ..., u] - below[i, ..., u]).sum() / (2 * step)
        assert abs(numeric - np.vdot(signal, v[i])) <= 1e-6 * np.linalg.norm(signal)


@both_engines
@some_layers
def test_the_gradient_is_the_dx_of_backward(net, layer, engine):
    x, part = images(), truncate(net, layer)
    image, units = live_units(net, layer, x, 6)
    a, cache = part.forward(x[image], PROBE)
    for norm in NORMS:
        want = part.backward(seed(a, units, norm, "norm"), cache)
        a, cache = part.forward(x[image], PROBE)  # backward may have used it up
        near(Projector(net, layer, GRADIENT, norm=norm, engine=engine)(x, image, units), want)


@both_engines
@few_layers
@pytest.mark.parametrize("unpool", ["sum", "last", "max"])
def test_skip_is_scale_where_gamma_is_the_standard_deviation(net, layer, engine, unpool):
    for leaf in net.leaves():
        if isinstance(leaf, BatchNorm2D):
            leaf.params["gamma"].value[...] = np.sqrt(leaf.buffers["running_var"] + leaf.eps)
    x = images()
    image, units = live_units(net, layer, x, 6)
    skip, scale = (Projector(net, layer, Rule("deconv", bn, unpool), engine=engine)(x, image, units)
                   for bn in ("skip", "scale"))  # fmt: skip
    near(skip, scale)


def test_skip_is_not_scale_in_general(net):
    x = images()
    image, units = live_units(net, "inception3", x, 6)
    skip, scale = (Projector(net, "inception3", Rule("deconv", bn))(x, image, units) for bn in ("skip", "scale"))
    assert np.abs(skip - scale).max() > 0.1 * np.abs(scale).max()


@every_rule
@few_layers
def test_a_projection_is_positively_homogeneous(net, layer, rule):
    """f(c R) = c f(R) for c > 0: the map is ||a|| times the derivative of its norm, its largest value c times one."""
    x = images()
    image, units = live_units(net, layer, x, 6)
    a = truncate(net, layer).forward(x, INFER)[0]
    maps = [a[i, ..., u].ravel() for i, u in zip(image, units, strict=True)]
    for kind, norm, ord in (("map", "l2", 2), ("max", "inf", np.inf)):
        whole, unit = (Projector(net, layer, rule, norm=norm, seed_map=k, threads=1)(x, image, units)
                       for k in (kind, "norm"))  # fmt: skip
        c = np.array([np.linalg.norm(m, ord) for m in maps])
        near(whole, c[:, None, None, None] * unit, size=1 if overwritten(layer, rule) else None)


# ------------------------------------------------------------------------- memory


@both_engines
def test_memory_stays_constant_over_a_hundred_images(net, engine):
    # One thread: a second one takes its own memory when it first comes to work, which may be late.
    projector = Projector(net, "inception2.b3", DECONV, engine=engine, threads=1)
    x, peaks = images(100), []
    tops = np.arange(100).reshape(100, 1)

    def project(part):
        tracemalloc.reset_peak()
        for _ in project_units(projector, lambda positions: x[positions], tops[part], np.full(10, 5)):
            pass
        peaks.append(tracemalloc.get_traced_memory()[1])

    tracemalloc.start()
    try:
        for start in range(0, 100, 10):
            project(slice(start, start + 10))
    finally:
        tracemalloc.stop()
    assert max(peaks[5:]) < 1.1 * max(peaks[:5])  # not a tenth more: 50 images alone are a fifth


def test_memory_does_not_grow_with_the_number_of_units(net):
    projector = Projector(net, "stem", DECONV, threads=1)
    peaks = []
    for count in (16, 160):
        tops = np.zeros((count, 1), int)
        tracemalloc.start()
        with patch("minidl.visual.projection.UNITS_AT_ONCE", 8):
            for _ in project_units(projector, lambda positions: images()[positions], tops, np.arange(count) % 16):
                pass
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 100_000


# -------------------------------------------------------------------- many units

TOPS = np.array([[4, 1, 0], [1, 4, 2], [2, -1, -1], [-1, -1, -1], [3, 3, -1], [0, 4, 1]])
UNITS = np.array([7, 2, 2, 5, 0, 1])


def looked_up(x, asked):
    def of_positions(positions):
        asked.append(positions)
        return x[positions]

    return of_positions


@both_engines
@pytest.mark.parametrize("at_once", [1, 2, 4, 128])
def test_units_in_portions_of_any_size_give_what_they_give_one_by_one(net, engine, at_once):
    x, projector = images(5), Projector(net, "inception2.b3", DECONV, engine=engine, threads=1)
    asked = []
    with patch("minidl.visual.projection.UNITS_AT_ONCE", at_once):
        found = list(project_units(projector, looked_up(x, asked), TOPS, UNITS))
    assert [unit for unit, _ in found] == UNITS.tolist() and type(found[0][0]) is int
    for (unit, signals), top in zip(found, TOPS, strict=True):
        assert signals.shape == ((top >= 0).sum(), 24, 28, 3)
        for signal, position in zip(signals, top[top >= 0], strict=True):
            np.testing.assert_allclose(signal, projector(x, [position], [unit])[0], rtol=0, atol=1e-12)
    assert sum(signals.any() for _, signals in found) >= 4
    several = Projector(net, "inception2.b3", RULE_SEEDS, engine=engine, threads=1)
    for (_, signals), (_, by_rules) in zip(found, project_units(several, looked_up(x, []), TOPS, UNITS), strict=True):
        np.testing.assert_allclose(by_rules[list(RULE_SEEDS).index("deconv")], signals, rtol=0, atol=1e-12)
    for positions in asked:
        assert positions.tolist() == sorted(set(positions.tolist())) and (positions >= 0).all()
    assert len(asked) == -(-6 // at_once)


@both_engines
@pytest.mark.parametrize("at_once", [1, 2, 128])
def test_units_without_any_image_have_no_signals(net, engine, at_once):
    projector = Projector(net, "inception2.b3", DECONV, engine=engine)
    with patch("minidl.visual.projection.UNITS_AT_ONCE", at_once):
        found = list(project_units(projector, lambda p: images()[p], np.full((3, 9), -1), np.array([4, 0, 2])))
        assert list(project_units(projector, lambda p: images()[p], np.zeros((0, 9), int), np.arange(0))) == []
    assert [(unit, signals.shape) for unit, signals in found] == [(u, (0, 24, 28, 3)) for u in (4, 0, 2)]
    several = Projector(net, "inception2.b3", RULE_SEEDS, engine=engine)
    [(_, none)] = project_units(several, lambda p: images()[p], np.full((1, 9), -1), np.array([4]))
    assert none.shape == (3, 0, 24, 28, 3)


def test_units_are_projected_as_they_are_asked_for(net):
    asked = []
    projector = Projector(net, "stem", DECONV, threads=1)
    with patch("minidl.visual.projection.UNITS_AT_ONCE", 2):
        signals = project_units(projector, looked_up(images(5), asked), TOPS, UNITS)
        assert asked == []
        next(signals)
    assert [positions.tolist() for positions in asked] == [[0, 1, 2, 4]]


# ---------------------------------------------------------------- negative gammas


def test_negative_gammas_are_counted_on_the_way_to_the_layer_only():
    def block(c, f, gammas):
        bn = BatchNorm2D(f)
        bn.params["gamma"].value[...] = gammas
        return Sequential({"conv": Conv2D(c, f, 1, rng=0), "bn": bn, "relu": ReLU()})

    module = Concat([{"a": block(3, 2, [-1, -2])}, {"b": block(3, 2, [1, -0.0]), "c": block(2, 1, [-5])}])
    model = Sequential({"stem": block(3, 3, [1, -1, 0]), "module": module, "last": block(3, 2, [-1, -1])})
    expected = {"stem.conv": (0, 0), "stem": (1, 3), "module.a": (3, 5), "module.b": (1, 5), "module.c": (2, 6)}
    expected |= {"module": (4, 8), "last.conv": (4, 8), "last": (6, 10), "": (6, 10)}
    assert {layer: negative_gammas(model, layer) for layer in expected} == expected
    assert negative_gammas(Sequential([Flatten(), Linear(3, 2)]), "1") == (0, 0)


def test_skipping_bn_turns_the_sign_of_a_channel_with_negative_gamma():
    model = Sequential({"conv": Conv2D(1, 1, 1, bias=False, dtype=float), "bn": BatchNorm2D(1, dtype=float)})
    model.named_parameters()["conv.weight"].value[...] = 2
    model.named_parameters()["bn.gamma"].value[...] = -3
    x = np.full((1, 1, 1, 1), -1.0)  # a = 6 / sqrt(1 + eps)
    skip, scale = (Projector(model, "bn", Rule("deconv", bn))(x, [0], [0]).item() for bn in ("skip", "scale"))
    assert skip == 2 and scale == pytest.approx(-6 / np.sqrt(1 + 1e-5), rel=1e-14)


# ------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"layer": "inception2.b4"}, "no layer 'inception2.b4': did you mean inception2.b"),
        ({"norm": "l1"}, "norm 'l1': choose inf, l2"),
        ({"norm": "L2"}, "norm 'L2': choose inf, l2"),
        ({"seed_map": "one"}, "seed map 'one': choose norm, map, max, ones"),
        ({"rule": {"gradient": "map", "guided": "one"}}, "seed map 'one': choose norm, map, max, ones"),
        ({"rule": {"gradient": "map", "guide": "map"}}, "Rule.name is 'guide': choose gradient, guided, deconv"),
    ],
)
def test_a_name_that_is_not_known_is_refused_in_one_line(arguments, line):
    arguments = {"layer": "stem", "rule": DECONV, **arguments}
    with pytest.raises(UsageError) as caught:
        Projector(models.build("refined", 5), **arguments)
    assert str(caught.value).startswith(line) and "\n" not in str(caught.value)


@both_engines
@pytest.mark.parametrize("unit", [-1, -16, 16, 10**9])
def test_a_unit_that_is_not_there_is_refused_in_one_line(net, engine, unit):
    projector = Projector(net, "stem", DECONV, engine=engine)
    with pytest.raises(UsageError) as caught:
        projector(images(), [0, 1, 2], [0, unit, 15])
    assert str(caught.value) == f"unit {unit}: the layer has units 0 to 15"
