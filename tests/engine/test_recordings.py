"""Recorded passes: the layers' answers to the bit, on one thread or more, and nothing that was true only once."""

import gc
import weakref
from unittest.mock import patch

import numpy as np
import pytest

import models
from minidl.engine import fuse, prepare
from minidl.engine.blocks.conv import ConvBlock
from minidl.engine.recordings import recording
from minidl.engine.recordings.recorder import Recorder, Unrecordable
from minidl.engine.recordings.recording import PASSES, Recording
from minidl.engine.tile_layer import TileLayer
from minidl.engine.tiles.scratch import Scratch
from minidl.layers import INFER, AvgPool2D, MaxPool2D, ReLU, Sequential
from tests.engine.test_company import at_once
from tests.engine.test_fused import block, renamed, same_bits, small_net, stem_net, vgg
from tests.strategies import randomized

RNG = np.random.default_rng(2)


def net(make=small_net):
    return randomized(make(), np.random.default_rng(0))


def odd():
    """A pool that the engine leaves to NumPy functions, and plain layers between composites."""
    first, second = renamed(block(3, 9, padding=1), "1"), renamed(block(9, 8, padding=1), "2")
    return Sequential({**first, "pool": MaxPool2D(3, 2), **second, "mean": AvgPool2D(2)})


def refined():
    return models.build("refined", classes=7, seed=0, dtype=np.float64)


NETS = {
    "small": (small_net, 16),
    "stem": (stem_net, 16),
    "vgg": (vgg, 16),
    "odd": (odd, 15),
    "refined": (refined, 64),
}


def recorded(model, x):
    """The answer of a pass that was recorded."""
    for _ in range(PASSES + 1):
        model.forward(x, INFER)
    assert all(shelf._unused for shelf in model.kept.of(model, x).recordings._shelves.values())
    return model.forward(x, INFER)[0]


# ---------------------------------------------------------------------- the answers


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", NETS)
def test_a_recorded_pass_has_the_bits_of_the_layers(name, threads):
    make, size = NETS[name]
    plain = net(make)
    prepared = prepare(plain, threads)
    for n in (1, 2, 5) if size < 64 else (1,):
        x = RNG.normal(size=(n, size, size, 3))
        recorded(prepared, x)
        for other in (x, -x, x[:, ::-1].copy(), np.zeros_like(x)):
            same_bits(prepared.forward(other, INFER)[0], fuse(plain).forward(other, INFER)[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sizes_and_dtypes_may_take_turns(dtype):
    plain = net()
    prepared = prepare(plain, 2)
    inputs = [RNG.normal(size=(n, 16, w, 3)).astype(t) for w in (14, 16) for n in (1, 4) for t in (dtype, np.float64)]
    for _ in range(2 * PASSES):
        for x in inputs:
            same_bits(prepared.forward(x, INFER)[0], fuse(plain).forward(x, INFER)[0])


def test_an_answer_belongs_to_the_caller():
    prepared, x = prepare(net(), 2), RNG.normal(size=(1, 16, 16, 3))
    first = recorded(prepared, x)
    before = first.copy()
    prepared.forward(-x, INFER)
    same_bits(first, before)
    first[...] = 0
    same_bits(prepared.forward(x, INFER)[0], before)


def test_many_threads_may_ask_for_a_recorded_pass():
    plain = net()
    prepared, inputs = prepare(plain, 2), [RNG.normal(size=(n, 16, 14, 3)) for n in (1, 1, 3)]
    expected = [fuse(plain).forward(x, INFER)[0] for x in inputs]

    def ask():
        for x, y in zip(inputs, expected, strict=True):
            same_bits(prepared.forward(x, INFER)[0], y)

    at_once(ask, ask, ask)


# -------------------------------------------------------- what can't be recorded


class Centered(TileLayer):
    """Looks at its numbers."""

    def infer_tile(self, x, folded, scratch):
        return x - x.mean(axis=(1, 2), keepdims=True) if (x > 0).any() else np.stack([x, x])[0]

    def forward(self, x, ctx):
        return self.infer_tile(x, None, None), None


def test_layers_of_ones_own_and_functions_of_numpy_are_called_as_a_whole():
    plain = Sequential({**block(3, 8, padding=1), "pool": MaxPool2D(3, 2), "own": Centered(), "act": ReLU()})
    plain = randomized(plain, np.random.default_rng(0))
    prepared, x = prepare(plain, 2), RNG.normal(size=(1, 9, 9, 3))
    recorded(prepared, x)
    for other in (x, -x, 0 * x):
        same_bits(prepared.forward(other, INFER)[0], fuse(plain).forward(other, INFER)[0])


@pytest.mark.parametrize("look", [
    lambda a: bool((a > 0).any()), lambda a: float(a[0, 0, 0, 0]), lambda a: a[a > 0], lambda a: a[[0, 0]],
    lambda a: np.stack([a, a]), lambda a: a.argmax(), lambda a: a.copy(), lambda a: a.item(), lambda a: np.modf(a),
    lambda a: a.__setitem__(a > 0, 1),
])  # fmt: skip
def test_what_would_be_true_only_once_is_refused(look):
    recorder = Recorder()
    a = recorder("a", (2, 3, 3, 2), np.dtype(float))
    a[...] = 1
    with pytest.raises(Unrecordable):
        look(a)


def test_a_pass_that_hides_what_it_does_is_not_used():
    original = ConvBlock.infer_tile

    def hiding(layer, x, folded, scratch):
        y = original(layer, x, folded, scratch)
        y += np.asarray(x).max()  # an array that records nothing
        return y

    plain = randomized(Sequential(block(3, 8, padding=1)), np.random.default_rng(0))
    prepared, x = prepare(plain, 2), RNG.normal(size=(1, 9, 9, 3))
    with patch.object(ConvBlock, "infer_tile", hiding):
        for _ in range(PASSES + 3):
            for other in (x, 2 * x):
                same_bits(prepared.forward(other, INFER)[0], fuse(plain).forward(other, INFER)[0])
        (shelf,) = prepared.kept.of(prepared, x).recordings._shelves.values()
        assert shelf.wrong and not shelf._unused


def test_copies_that_reshape_makes_are_made_again():
    def infer(x, scratch):
        turned = x.swapaxes(0, 1).reshape(-1, 2)  # can't be a view
        out = scratch("out", turned.shape, x.dtype)
        return np.maximum(turned, 0, out=out)

    work = Recording(infer, (3, 4, 2), np.dtype(float))
    x = RNG.normal(size=(3, 4, 2))
    assert work.right
    same_bits(work(x), infer(x, Scratch()))


# ------------------------------------------------------------------------- memory


def test_recordings_go_with_the_weights_they_were_made_for():
    plain = net()
    prepared, x = prepare(plain, 2), RNG.normal(size=(1, 16, 16, 3))
    recorded(prepared, x)
    (shelf,) = prepared.kept.of(prepared, x).recordings._shelves.values()
    gone = weakref.ref(shelf._unused[0])
    del shelf
    assert gone()
    next(iter(plain.named_parameters().values())).value[...] *= 2
    gc.disable()
    try:
        prepared.forward(x, INFER)
        assert not gone()  # at once, without a garbage collection
    finally:
        gc.enable()


def test_the_memory_of_recordings_goes_with_them():
    def recorders():
        return sum(isinstance(thing, Recorder) for thing in gc.get_objects())

    before, plain, x = recorders(), net(), RNG.normal(size=(1, 16, 16, 3))
    prepared = prepare(plain, 2)
    for _ in range(3):  # as between the epochs of a training
        recorded(prepared, x)
        assert recorders() == before + 1
        next(iter(plain.named_parameters().values())).value[...] *= 2
    del prepared
    assert recorders() == before


def test_recordings_of_the_last_shapes_are_kept():
    prepared = prepare(net(), 2)
    for n in range(1, 8):
        recorded(prepared, RNG.normal(size=(n, 16, 16, 3)))
    shelves = prepared.kept.of(prepared, np.empty((1, 16, 16, 3))).recordings._shelves
    assert len(shelves) == recording.SHAPES


def test_without_preparing_nothing_is_recorded():
    model, x = fuse(net(), 2), RNG.normal(size=(1, 16, 16, 3))
    with patch.object(recording, "Recording", side_effect=AssertionError):
        for _ in range(PASSES + 2):
            model.forward(x, INFER)


def test_an_error_in_a_recorded_layer_is_raised_and_the_next_pass_is_right():
    class Failing(TileLayer):
        fails = False

        def infer_tile(self, x, folded, scratch):
            if self.fails:
                raise RuntimeError("no")
            return x * 2

        def forward(self, x, ctx):
            return x * 2, None

    plain = Sequential({**block(3, 8, padding=1), "own": Failing()})
    prepared, x = prepare(plain, 2), RNG.normal(size=(1, 9, 9, 3))
    y = recorded(prepared, x)
    plain.layers["own"].fails = True
    with pytest.raises(RuntimeError, match="no"):
        prepared.forward(x, INFER)
    plain.layers["own"].fails = False
    same_bits(prepared.forward(x, INFER)[0], y)
