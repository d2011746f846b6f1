"""The fused inception module gives the plain one's results: any branches, any geometry, with a pool or without."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from minidl.engine import fuse
from minidl.engine.blocks.inception import InceptionBlock, branches_of
from minidl.layers import TRAIN, AvgPool2D, BatchNorm2D, Concat, Conv2D, MaxPool2D, ReLU, Sequential, SiLU
from models.inception import Inception, inception
from tests.engine.test_fused import (
    FAR_BEFORE_A_POOL,
    MEAN_LIMIT,
    assert_digits_are_kept,
    assert_same_step,
    batches,
    check,
    close,
    fused_on_nan,
    kinds,
    same_bits,
    small_net,
    step,
    tile_sizes,
    tiles_of,
)
from tests.strategies import cases, layouts, randomized, seeds

POOL_1 = MaxPool2D(2, 2, 1)


def conv_bn_relu(c, f, kernel, dtype=np.float64, **changes):
    conv = Conv2D(c, f, kernel, **{"padding": kernel // 2, "bias": False, **changes}, rng=0, dtype=dtype)
    return Sequential({"conv": conv, "bn": BatchNorm2D(f, dtype=dtype), "relu": ReLU()})


def module(c, branches, dtype=np.float64):
    """A Concat of branches such as ("1", 4), ("1", 2, "3", 5) or ("pool3", "1", 4): filters follow their kernel."""
    made = []
    for i, parts in enumerate(branches):
        branch, channels, parts = {}, c, list(parts)
        while parts:
            kind, name = parts.pop(0), f"{i}.{len(branch)}"
            if kind.startswith("pool"):
                branch[name] = AvgPool2D(int(kind[4:]), 1, int(kind[4:]) // 2)
            else:
                branch[name] = conv_bn_relu(channels, filters := parts.pop(0), int(kind), dtype)
                channels = filters
        made.append(branch)
    return Concat(made)


filters = st.integers(1, 5)
more = st.sampled_from([1, 5, 8, 24])  # few: by patches, some: Winograd along columns, many: on both axes
windows = st.tuples(st.just("1"), more, st.sampled_from(["3", "5", "7"]), more)
others = st.one_of(
    st.tuples(st.just("1"), filters), st.tuples(st.sampled_from(["pool1", "pool3", "pool5"]), st.just("1"), filters)
)
rows = st.tuples(windows, st.lists(st.one_of(windows, others), max_size=4)).flatmap(
    lambda row: st.permutations([row[0], *row[1]])
)
PAPER = Inception(3, 4, 5, 2, 3, 2)


def paper_module(dtype=np.float64, row=PAPER):
    return inception(6, row, np.random.default_rng(0), dtype)


# ------------------------------------------------------------------ equality


@pytest.mark.slow
@cases(150)
@given(
    rows, st.sampled_from([None, 0, 1]), batches, st.integers(1, 9), st.integers(1, 9), st.integers(1, 5), seeds,
    layouts, layouts, tile_sizes, st.booleans(),
)  # fmt: skip
def test_any_module_on_any_geometry(row, pool, n, h, w, c, seed, x_layout, dy_layout, tile, zero_gamma):
    assume(n * h * w >= 8 and (pool != 0 or min(h, w) > 1))
    # A single channel with gamma 0 is constant, and so is the map after it: rounding would choose the maxima.
    assume(not (zero_gamma and pool is not None and any(len(parts) == 4 and parts[1] == 1 for parts in row)))
    model = module(c, row)
    if pool is not None:
        model = Sequential({"module": model, "pool": MaxPool2D(2, 2, pool)})
    fused = check(model, (n, h, w, c), seed, x_layout, dy_layout, tile, zero_gamma=zero_gamma)
    assert kinds(fused) == [InceptionBlock]


@pytest.mark.parametrize("n", [1, 5, 17])
@pytest.mark.parametrize("h, w", [(16, 16), (8, 4), (31, 30)])
def test_the_papers_module(n, h, w):
    check(paper_module(row=Inception(3, 48, 40, 8, 9, 2)), (n, h, w, 6), n)


@pytest.mark.parametrize("pool", [None, MaxPool2D(2), POOL_1])
@pytest.mark.parametrize("what", ["zeros", "dead", "negative", "all gamma zero", "some gamma zero"])
def test_numbers_out_of_the_common(what, pool):
    model = paper_module() if pool is None else Sequential({"module": paper_module(), "pool": pool})
    rng = np.random.default_rng(0)
    randomized(model, rng)
    for name, p in model.named_parameters().items():
        if name.endswith("beta") and what == "dead":
            p.value[...] = -100
        if name.endswith("gamma"):
            p.value[...] = {"negative": -np.abs(p.value), "all gamma zero": 0}.get(what, p.value)
            p.value[1::2] *= what != "some gamma zero"
    x = np.zeros((3, 8, 7, 6)) if what == "zeros" else rng.normal(size=(3, 8, 7, 6))
    if what == "zeros" and pool:  # all pixels of a window tie, but for rounding
        close(fused_on_nan(model).forward(x, TRAIN)[0], model.forward(x, TRAIN)[0])
    else:
        assert_same_step(model, fused_on_nan(model), x, rng.normal(size=model.out_shape(x.shape)))


def test_running_statistics_follow_the_plain_ones_over_ten_steps():
    plain, twin = (randomized(paper_module(), np.random.default_rng(0)) for _ in range(2))
    fused, rng = fused_on_nan(twin), np.random.default_rng(1)
    for _ in range(10):
        x = rng.normal(size=(9, 8, 8, 6)) + 2
        (y, cache), (fused_y, fused_cache) = plain.forward(x, TRAIN), fused.forward(x, TRAIN)
        close(fused_y, y)
        dy = rng.normal(size=y.shape)
        close(fused.backward(dy, fused_cache), plain.backward(dy, cache))
    for name, p in plain.named_parameters().items():
        close(twin.named_parameters()[name].grad, p.grad)
    for name, b in plain.named_buffers().items():
        close(twin.named_buffers()[name], b)


@pytest.mark.parametrize(
    "pool, dtype, mean", [*((None, *case) for case in MEAN_LIMIT), *((POOL_1, *case) for case in FAR_BEFORE_A_POOL)]
)
def test_a_module_keeps_its_digits_where_the_mean_is_1000_standard_deviations(pool, dtype, mean):
    def make(dtype):
        inner = module(6, [("1", 3), ("1", 4, "3", 5), ("1", 2, "5", 3)], dtype)
        return Sequential({"module": inner} if pool is None else {"module": inner, "pool": pool})

    assert_digits_are_kept(make, (6, 9, 8, 6), dtype, mean)


# ------------------------------------------------------------------ contract


@pytest.mark.parametrize("pool", [None, POOL_1])
def test_one_two_and_three_threads_give_the_same_bits(pool):
    results = []
    rng = np.random.default_rng(1)
    x = rng.normal(size=(21, 12, 12, 6)).astype(np.float32)
    for threads in (1, 2, 3):
        model = paper_module(np.float32) if pool is None else Sequential([paper_module(np.float32), pool])
        fused = fuse(model, threads)
        dy = np.random.default_rng(2).normal(size=model.out_shape(x.shape)).astype(np.float32)
        with tiles_of(1):
            y, dx, grads, buffers = step(fused, x, dy)
        results.append([y, dx, *grads.values(), *buffers.values()])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            same_bits(b, a)


def test_float32_stays_float32_and_is_near_float64():
    row = Inception(3, 48, 40, 8, 9, 2)
    exact, model = paper_module(row=row), paper_module(np.float32, row)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(9, 16, 16, 6)).astype(np.float32)
    dy = rng.normal(size=exact.out_shape(x.shape)).astype(np.float32)
    want = step(exact, x.astype(np.float64), dy.astype(np.float64))
    got = step(fuse(model), x, dy)
    for a, b in [(got[0], want[0]), *((got[2][name], g) for name, g in want[2].items())]:
        assert a.dtype == np.float32
        close(a.astype(np.float64), b, 2e-4)


def test_a_second_backward_pass_leaves_the_first_cache_alone():
    fused = fuse(randomized(paper_module(), np.random.default_rng(0)), 2)
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(2, 5, 8, 8, 6))
    dys = rng.normal(size=(2, 5, 8, 8, 13))
    alone = [step(fused, x, dy)[:3] for x, dy in zip(xs, dys, strict=True)]
    ys, caches = zip(*(fused.forward(x, TRAIN) for x in xs), strict=True)
    for i in (1, 0):
        fused.zero_grad()
        same_bits(ys[i], alone[i][0])
        same_bits(fused.backward(dys[i], caches[i]), alone[i][1])
        for name, p in fused.named_parameters().items():
            same_bits(p.grad, alone[i][2][name])


# ------------------------------------------------------------- what is a module


def test_only_modules_of_the_known_form_are_fused():
    reduce, conv, pool = conv_bn_relu(4, 3, 1), conv_bn_relu(3, 2, 3), AvgPool2D(3, 1, 1)
    good = {"reduce": reduce, "conv": conv}
    assert branches_of(paper_module()) and branches_of(Concat([good]))
    assert branches_of(Concat([good, {"a": Conv2D(4, 2, 1, bias=False), "b": BatchNorm2D(2), "c": ReLU()}]))
    assert not branches_of(Concat([{"a": reduce}])) and not branches_of(Concat([{"a": pool, "b": reduce}]))
    for bad in (
        {"a": pool},
        {"a": conv_bn_relu(4, 3, 3)},
        {"a": reduce, "b": conv_bn_relu(3, 2, 3, padding=0)},
        {"a": reduce, "b": conv_bn_relu(3, 2, 3, stride=2)},
        {"a": reduce, "b": conv_bn_relu(3, 2, 3, bias=True)},
        {"a": reduce, "b": conv_bn_relu(3, 2, 9)},
        {"a": reduce, "b": conv_bn_relu(3, 2, 1)},
        {"a": conv_bn_relu(4, 3, 1, bias=True), "b": conv},
        {"a": conv_bn_relu(4, 3, 1, padding=1)},
        {"a": reduce, "b": conv, "c": conv_bn_relu(2, 2, 3)},
        {"a": pool, "b": reduce, "c": conv},
        {"a": reduce, "b": pool},
        {"a": MaxPool2D(3, 1, 1), "b": reduce},
        {"a": AvgPool2D(2, 1, 1), "b": reduce},
        {"a": AvgPool2D(3, 1), "b": reduce},
        {"a": reduce, "b": Sequential([Conv2D(3, 2, 3, padding=1, bias=False), ReLU()])},
        {"a": Sequential({**conv_bn_relu(4, 3, 1).layers, "relu": SiLU()})},
    ):
        assert not branches_of(Concat([good, {f"x{name}": layer for name, layer in bad.items()}])), bad


def test_branches_know_their_channels_in_any_order():
    model = module(6, [("pool3", "1", 2), ("1", 4, "5", 3), ("1", 5), ("1", 7, "3", 6)])
    first, second = InceptionBlock.design(model).stages
    (points,) = first.parts
    assert points.out == slice(0, 18) and first.bn.channels == 11  # 4 and 7 in front of the 5x5 and the 3x3
    assert [part.source for part in second.parts] == [slice(0, 4), slice(4, 11), slice(11, 13), slice(13, 18)]
    assert [part.out for part in second.parts] == [slice(2, 5), slice(10, 16), slice(0, 2), slice(5, 10)]
    assert [part.map.kernel for part in second.parts[2:]] == [3, 1]


def test_a_module_is_found_wherever_it_stands():
    assert kinds(fuse(Concat([{"a": paper_module()}, {"b": MaxPool2D(3, 1, 1)}])))[0] is InceptionBlock
    assert InceptionBlock in kinds(fuse(Sequential({"outer": small_net()})))
