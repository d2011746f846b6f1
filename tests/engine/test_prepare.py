"""A prepared model keeps its folded weights, and never answers with old ones."""

import copy
import pickle
from multiprocessing import get_context
from unittest.mock import patch

import numpy as np
import pytest

import minidl as md
from minidl.engine import fuse, prepare, projection
from minidl.engine.blocks.fused import Fused
from minidl.engine.chain import FusedSequential
from minidl.engine.projection import project_pairs
from minidl.engine.recordings import recording
from minidl.errors import UsageError
from minidl.layers import (
    INFER,
    BatchNorm2D,
    GlobalAvgPool,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2D,
    Parameter,
    Residual,
    Sequential,
)
from minidl.layers.parameter import Snapshot
from minidl.optim import Adam
from minidl.training.evaluation import evaluate
from tests.conftest import HANGS
from tests.engine.test_company import at_once, posix
from tests.engine.test_fused import block, same_bits, small_net
from tests.examples import STEP as TRAIN
from tests.strategies import randomized

PASSES = 1  # before one is recorded; here fewer than otherwise
X = np.random.default_rng(1).normal(size=(3, 16, 14, 3))


def net():
    return randomized(small_net(), np.random.default_rng(0))


def net_of_blocks():
    """A user's own layer keeps the images from going through in tiles, so each composite runs for itself."""

    class Centered(Layer):
        def forward(self, x, ctx):
            return x - x.mean(axis=0), None

    inner = Residual(Sequential(block(6, 6, padding=1)))
    model = Sequential({**block(3, 6, padding=1), "residual": inner, "own": Centered()})
    return randomized(model, np.random.default_rng(0))


NETS = pytest.mark.parametrize("make", [pytest.param(net, marks=pytest.mark.slow), net_of_blocks])
NAMES = [*net().named_parameters(), *net().named_buffers()]


@pytest.fixture(autouse=True)
def recorded_early(monkeypatch):
    monkeypatch.setattr(recording, "PASSES", PASSES)


class Folds:
    """`with Folds() as folds:` counts how often weights are folded (by composites, so once for each of them)."""

    def __enter__(self):
        self.number, self._patches = 0, []
        for kind in Fused.__subclasses__():
            fold = kind.fold
            self._patches.append(patch.object(kind, "fold", self._counted(fold)))
        for one in self._patches:
            one.start()
        return self

    def _counted(self, fold):
        def counted(layer, x):
            self.number += 1
            return fold(layer, x)

        return counted

    def __exit__(self, *_):
        for one in self._patches:
            one.stop()


def arrays_of(model):
    return {name: p.value for name, p in model.named_parameters().items()} | model.named_buffers()


def up_to_date(prepared, plain, x=X):
    """The answers are those of the weights as they are now: of the first pass, and of passes that are recorded."""
    expected = fuse(plain).forward(x, INFER)[0]
    for _ in range(PASSES + 1):
        same_bits(prepared.forward(x, INFER)[0], expected)


# --------------------------------------------------------------------- what is kept


@NETS
def test_weights_are_folded_once(make):
    plain = make()
    prepared, other_size = prepare(plain), X[:, 1:]
    up_to_date(prepared, plain)
    up_to_date(prepared, plain, other_size)
    expected = [fuse(plain).forward(x, INFER)[0] for x in (X, other_size, X[:1])]
    with Folds() as folds:
        for _ in range(3):
            for x, y in zip(
                (X, other_size, X[:1]), expected, strict=True
            ):  # another batch size needs no other weights
                same_bits(prepared.forward(x, INFER)[0], y)
        assert folds.number == 0
        fuse(plain).forward(X, INFER)
        assert folds.number > 0  # the counter counts


def test_of_many_sizes_the_last_two_are_kept():
    prepared = prepare(net())
    for size in range(8, 14):
        prepared.forward(X[:, :size], INFER)
    assert [shape[0] for shape, _ in prepared.kept._made] == [12, 13]
    with Folds() as folds:
        prepared.forward(X[:, :12], INFER)
        prepared.forward(X[:, :13], INFER)
        assert folds.number == 0
        prepared.forward(X[:, :8], INFER)
        assert folds.number > 0


def test_a_fused_model_is_prepared_as_it_is_and_a_model_of_other_arrays_too():
    fused = fuse(net())
    assert prepare(fused) is fused and prepare(fused).kept is fused.kept
    plain = Sequential({"fc": Linear(4, 3, rng=0)})
    assert isinstance(md.prepare(plain, 1), FusedSequential)


def test_evaluation_prepares_a_fused_model_and_leaves_a_plain_one_alone():
    labels = np.zeros(len(X), np.int64)
    loader = md.Loader((X, labels), 2)
    fused, plain = fuse(net()), net()
    assert evaluate(fused, loader).loss == pytest.approx(evaluate(plain, loader).loss)
    with Folds() as folds:
        evaluate(fused, loader)
        assert folds.number == 0
    assert type(plain) is Sequential


def test_a_training_pass_lets_go_of_them():
    prepared = prepare(net())
    prepared.forward(X, INFER)
    assert prepared.kept._made
    prepared.forward(X, TRAIN)
    assert not prepared.kept._made and prepared.kept._seen is None


# ------------------------------------------------------------- a change is noticed


def smallest_change(array):
    """Another last bit of one number: no sum over the array would have to differ."""
    array.reshape(-1)[array.size // 2] = np.nextafter(array.reshape(-1)[array.size // 2], np.inf)


@pytest.mark.parametrize("name", NAMES)
def test_the_smallest_change_of_any_array_is_noticed(name):
    plain = net()
    prepared = prepare(plain)
    up_to_date(prepared, plain)
    smallest_change(arrays_of(plain)[name])
    with Folds() as folds:  # the answer may round to the same
        prepared.forward(X, INFER)
    assert folds.number or name.startswith("fc.")  # a plain layer's, which nobody folds
    up_to_date(prepared, plain)


def in_place(p):
    p.value[...] = p.value * 1.5


def added(p):
    p.value += 0.25


def swapped(p):  # the sum over all numbers stays the same
    p.value[...] = p.value[..., ::-1].copy()


def turned(p):
    p.value *= -1


@NETS
@pytest.mark.parametrize("change", [in_place, added, swapped, turned])
def test_a_change_through_the_parameter_is_noticed(change, make):
    plain = make()
    prepared = prepare(plain)
    up_to_date(prepared, plain)
    for p in plain.named_parameters().values():
        change(p)
        up_to_date(prepared, plain)


@NETS
@pytest.mark.parametrize("hold", [
    lambda a: a, lambda a: a[...], lambda a: a.T, lambda a: a.reshape(-1)[1:], memoryview, lambda a: [[a]],
], ids=["array", "view", "turned view", "part", "memoryview", "in lists"])  # fmt: skip
def test_a_change_through_what_was_taken_long_before_is_noticed(hold, make):
    plain = make()
    held = [hold(p.value) for p in plain.named_parameters().values()]
    prepared = prepare(plain)
    for _ in range(3):
        up_to_date(prepared, plain)
    for own in held:
        while isinstance(own, list):
            own = own[0]
        np.asarray(own)[...] *= 1.25
        del own
        up_to_date(prepared, plain)


def test_a_change_of_the_flat_vector_below_the_parameters_is_noticed():
    plain = net()
    conv = next(leaf for leaf in plain.leaves() if leaf.params)
    flat = np.zeros(conv.params["weight"].value.size)
    conv.params["weight"] = Parameter(flat.reshape(conv.params["weight"].value.shape))
    prepared = prepare(plain)
    up_to_date(prepared, plain)
    flat[:] = np.arange(flat.size) % 7 - 3
    up_to_date(prepared, plain)


@NETS
def test_running_statistics_that_are_written_or_replaced_are_noticed(make):
    plain = make()
    prepared = prepare(plain)
    for leaf in plain.leaves():
        if isinstance(leaf, BatchNorm2D):
            up_to_date(prepared, plain)
            leaf.buffers["running_mean"][0] += 1
            up_to_date(prepared, plain)
            leaf.buffers["running_var"] = leaf.buffers["running_var"] * 2
            up_to_date(prepared, plain)


@NETS
def test_another_eps_is_noticed(make):
    plain = make()
    prepared = prepare(plain)
    up_to_date(prepared, plain)
    next(leaf for leaf in plain.leaves() if isinstance(leaf, BatchNorm2D)).eps = 0.5
    up_to_date(prepared, plain)


def test_training_steps_are_noticed():
    plain = net()
    prepared = prepare(plain)
    optimizer = Adam(prepared.named_parameters(), 1e-2)
    for _ in range(3):
        up_to_date(prepared, plain)
        y, cache = prepared.forward(X, TRAIN)
        up_to_date(prepared, plain)  # the running statistics have moved
        prepared.backward(np.ones_like(y), cache)
        optimizer.step()
    up_to_date(prepared, plain)


def test_a_step_on_the_plain_model_is_noticed_by_the_prepared_one():
    plain = net()
    prepared = prepare(plain)
    up_to_date(prepared, plain)
    y, cache = plain.forward(X, TRAIN)  # running statistics alone
    up_to_date(prepared, plain)
    plain.backward(np.ones_like(y), cache)
    Adam(plain.named_parameters(), 1e-2).step()
    up_to_date(prepared, plain)


def test_loaded_weights_are_noticed(tmp_path):
    plain, other = net(), randomized(small_net(), np.random.default_rng(5))
    md.save(tmp_path / "other.safetensors", other)
    prepared = prepare(plain)
    up_to_date(prepared, plain)
    md.load(tmp_path / "other.safetensors", plain)
    up_to_date(prepared, plain)
    same_bits(prepared.forward(X, INFER)[0], fuse(other).forward(X, INFER)[0])


def test_nan_weights_are_kept_too():
    plain = net()
    next(iter(plain.named_parameters().values())).value[...] = np.nan
    prepared = prepare(plain)
    prepared.forward(X, INFER)
    with Folds() as folds:
        assert np.isnan(prepared.forward(X, INFER)[0]).all()
        assert folds.number == 0


# ------------------------------------------------------------- a change is refused


def a_composite(model, kind):
    return next(layer for _, layer in model.places() if type(layer).__name__ == kind)


@pytest.mark.parametrize("kind", ["FusedStem", "InceptionBlock", "ConvBlock"])
@pytest.mark.parametrize("mode", [INFER, TRAIN], ids=["INFER", "TRAIN"])
@pytest.mark.parametrize("make_form", [fuse, prepare])
def test_another_parameter_in_place_of_one_is_refused(kind, mode, make_form):
    plain = net()
    fused = make_form(plain)
    y = fused.forward(X, INFER)[0]
    leaf = next(leaf for leaf in a_composite(fused, kind).plain.leaves() if "weight" in leaf.params)
    old = leaf.params["weight"]
    leaf.params["weight"] = Parameter(old.value * 2)
    with pytest.raises(UsageError, match=r"replaced: write `p.value\[...\] = array`"):
        fused.forward(X, mode)
    if mode is INFER:
        leaf.params["weight"] = old
        same_bits(fused.forward(X, INFER)[0], y)


def test_another_layer_in_place_of_one_in_a_composite_is_refused():
    prepared = prepare(Sequential({"block": Sequential(block(3, 8))}))
    prepared.forward(X, INFER)
    a_composite(prepared, "ConvBlock").plain.layers["bn"] = BatchNorm2D(8, dtype=np.float64)
    with pytest.raises(UsageError, match="replaced"):
        prepared.forward(X, INFER)


def test_another_layer_in_a_chain_is_noticed():
    inner = Sequential({**block(3, 6), "own": LeakyReLU(0.5)})
    prepared = prepare(Sequential({"inner": inner, "gap": GlobalAvgPool()}))
    for _ in range(PASSES + 1):
        before = prepared.forward(X, INFER)[0]
    chain = next(layer for layer in prepared if isinstance(layer, FusedSequential))
    chain.layers["own"] = LeakyReLU(-3.0)
    assert not np.array_equal(prepared.forward(X, INFER)[0], before) or (before > 0).all()
    chain.layers["own"] = MaxPool2D(2)
    assert not np.array_equal(prepared.forward(X, INFER)[0], before)


def another_weight(leaves):
    leaves["fc"].params["weight"] = Parameter(leaves["fc"].params["weight"].value * 2)


@pytest.mark.parametrize("change", [
    lambda leaves: smallest_change(leaves["fc"].params["weight"].value), another_weight,
    lambda leaves: leaves["fc"].params.pop("bias"),
    lambda leaves: setattr(leaves["act"], "negative_slope", -1.0), lambda leaves: setattr(leaves["norm"], "eps", 0.5),
    lambda leaves: leaves["norm"].buffers.update(running_mean=np.ones(6)),
    lambda leaves: leaves["norm"].params["gamma"].value.fill(3),
])  # fmt: skip
def test_a_change_in_a_plain_layer_between_composites_is_noticed(change):
    leaves = {"pool": MaxPool2D(2), "norm": BatchNorm2D(6, dtype=np.float64), "gap": GlobalAvgPool()}
    leaves |= {"fc": Linear(6, 5, rng=0, dtype=np.float64), "act": LeakyReLU(0.1)}
    plain = randomized(Sequential({**block(3, 6, padding=1), **leaves}), np.random.default_rng(0))
    prepared = prepare(plain)
    up_to_date(prepared, plain)
    before = prepared.forward(X, INFER)[0]
    change(leaves)
    after = prepared.forward(X, INFER)[0]
    assert not np.array_equal(after, before)
    up_to_date(prepared, plain)


# --------------------------------------------------------------- other models, threads


def test_two_forms_of_one_model_see_each_others_changes():
    plain = net()
    prepared, trained = prepare(plain), prepare(plain, 1)
    optimizer = Adam(trained.named_parameters(), 1e-2)
    for _ in range(2):
        up_to_date(prepared, plain)
        up_to_date(trained, plain)
        y, cache = trained.forward(X, TRAIN)
        up_to_date(prepared, plain)
        trained.backward(np.ones_like(y), cache)
        optimizer.step()
        up_to_date(prepared, plain)


def test_a_frozen_part_of_a_prepared_model_is_prepared_with_the_others():
    plain = net()
    prepared = prepare(md.freeze(plain, "module"))
    for p in plain.named_parameters().values():
        for _ in range(PASSES + 1):
            prepared.forward(X, INFER)
        p.value[...] *= 1.5
        same_bits(prepared.forward(X, INFER)[0], fuse(md.freeze(plain, "module")).forward(X, INFER)[0])


def test_a_model_converted_after_it_was_prepared_has_weights_of_its_own():
    prepared = prepare(net())
    for _ in range(PASSES + 1):
        y = prepared.forward(X, INFER)[0]
    single = md.convert(prepared, dtype=np.float32)
    for _ in range(PASSES + 1):
        assert single.forward(X.astype(np.float32), INFER)[0].dtype == np.float32
        np.testing.assert_allclose(single.forward(X.astype(np.float32), INFER)[0], y, rtol=1e-3, atol=1e-3)
        same_bits(prepared.forward(X, INFER)[0], y)


@posix
def test_a_forked_child_answers_like_its_parent_and_notices_changes():
    plain = net()
    prepared = prepare(plain, 2)
    one = X[:1]
    up_to_date(prepared, plain, one)

    def child(queue):
        try:
            up_to_date(prepared, plain, one)
            next(iter(plain.named_parameters().values())).value[...] *= 2
            up_to_date(prepared, plain, one)
            queue.put("right")
        except BaseException as error:
            queue.put(repr(error))

    context = get_context("fork")
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,))
    process.start()
    assert queue.get(timeout=HANGS) == "right"
    process.join(timeout=HANGS)
    up_to_date(prepared, plain, one)


def test_a_part_of_a_prepared_model_has_its_own_weights():
    prepared = prepare(net())
    whole = prepared.forward(X, INFER)[0]
    part = prepared[:2]
    for _ in range(2):
        same_bits(part.forward(X, INFER)[0], fuse(net())[:2].forward(X, INFER)[0])
        same_bits(prepared.forward(X, INFER)[0], whole)


@pytest.mark.parametrize("how", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_a_copy_of_a_prepared_model_is_prepared_with_weights_of_its_own(how):
    prepared = prepare(net())
    alone = prepared.forward(X, INFER)[0]
    other = how(prepared)
    same_bits(other.forward(X, INFER)[0], alone)
    assert other.kept is not None and other.kept is not prepared.kept
    for p in other.named_parameters().values():
        p.value *= 2
    same_bits(prepared.forward(X, INFER)[0], alone)
    assert not np.array_equal(other.forward(X, INFER)[0], alone)


def test_several_threads_ask_a_prepared_model_for_images_of_several_sizes():
    prepared = prepare(net(), 2)
    inputs = [X, X[:, 1:], X[:, :, 2:], X[:1]]
    expected = [fuse(net()).forward(x, INFER)[0] for x in inputs]

    def ask():
        for x, y in zip(inputs, expected, strict=True):
            same_bits(prepared.forward(x, INFER)[0], y)

    at_once(ask, ask, ask)


# ------------------------------------------------------------------- the snapshot


@NETS
def test_a_pass_hands_out_no_weight_that_is_folded(make):
    prepared = prepare(make())
    for _ in range(3):
        prepared.forward(X, INFER)
    kept = [layer.kept for _, layer in prepared.places() if getattr(layer, "kept", None) and layer.kept._seen]
    for one in kept:
        watched(one._seen._weights)
    before = Comparisons.number
    prepared.forward(X, INFER)
    assert kept and Comparisons.number == before


class Comparisons(bytearray):
    """Bytes that count how often they are compared."""

    number = 0

    def __ne__(self, other):
        Comparisons.number += 1
        return super().__ne__(other)


def watched(snapshot):
    snapshot._seen = [(p, mark, Comparisons(numbers)) for p, mark, numbers in snapshot._seen]
    return snapshot


def test_a_snapshot_compares_numbers_only_if_somebody_may_have_written_them():
    parameter = Parameter(np.arange(6.0))
    snapshot = watched(Snapshot([Parameter(np.zeros(2)), parameter]))

    def comparisons():
        before = Comparisons.number
        assert snapshot.hold()
        return Comparisons.number - before

    assert comparisons() == 0
    parameter.value.sum()  # whoever had the array may have written to it
    assert [comparisons(), comparisons()] == [1, 0]
    held = parameter.value[1:]
    assert [comparisons(), comparisons()] == [1, 1]
    del held
    assert comparisons() == 0
    smallest_change(parameter.value)
    assert not snapshot.hold()


def test_projections_keep_what_they_make_of_the_weights():
    plain = net()
    prepared = prepare(plain)

    def signals(model):
        return project_pairs(model, X, np.arange(3), lambda a, pairs: np.ones_like(a), "guided")

    first = signals(prepared)
    same_bits(first, signals(fuse(plain)))
    with patch.object(projection, "_step", side_effect=AssertionError):
        same_bits(signals(prepared), first)
    for name, array in arrays_of(plain).items():
        if not name.startswith("fc."):
            smallest_change(array)
            array *= 1.01
            same_bits(signals(prepared), signals(fuse(plain)))


@pytest.mark.parametrize("make_form", [fuse, prepare])
@pytest.mark.parametrize("setting", ["kernel", "stride", "padding"])
def test_a_changed_geometry_is_refused(make_form, setting):
    plain = Sequential({**block(3, 6, padding=1), "pool": md.MaxPool2D(2, 2)})
    fused = make_form(plain)
    fused.forward(X, INFER)
    setattr(plain["pool"], setting, 1)
    for mode in (INFER, TRAIN):
        with pytest.raises(UsageError, match="kernel, stride or padding"):
            fused.forward(X, mode)
    if setting != "kernel":
        conv = next(leaf for leaf in plain.leaves() if isinstance(leaf, md.Conv2D))
        fused = make_form(plain)
        setattr(conv, setting, 2)
        with pytest.raises(UsageError, match="kernel, stride or padding"):
            fused.forward(X, INFER)
