"""Recycled memory: it comes back when the last view of it dies, and never earlier."""

import gc
import mmap
import sys
import threading
import tracemalloc
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minidl.engine import fuse
from minidl.engine.tiles.recycler import ALIGNMENT, PAGES, Recycler, aligned
from minidl.layers import INFER
from minidl.optim import Adam
from tests.conftest import HANGS
from tests.engine.test_fused import small_net, vgg
from tests.examples import STEP as TRAIN
from tests.strategies import cases, randomized, seeds

DTYPES = [np.float32, np.float64, np.bool_, np.uint8, np.int64]


def address(array):
    return array.__array_interface__["data"][0]


@cases(60)
@given(st.lists(st.integers(0, 9), max_size=4), st.sampled_from(DTYPES))
def test_arrays_have_the_shape_and_dtype_asked_for_and_start_at_a_cache_line(shape, dtype):
    recycler = Recycler()
    for make in (aligned, recycler.empty, recycler.empty):  # the last one is recycled
        array = make(tuple(shape), dtype)
        assert array.shape == tuple(shape) and array.dtype == dtype
        assert array.flags.c_contiguous and array.flags.writeable
        assert array.size == 0 or address(array) % ALIGNMENT == 0
        array[...] = 1
        assert array.sum() == array.size


VIEWS = {
    "slice": lambda a: a[2:5, 1:],
    "row": lambda a: a[7],
    "transposed": lambda a: a.T,
    "reshaped": lambda a: a.reshape(4, -1),
    "of another dtype": lambda a: a.view(np.uint8),
    "flat": lambda a: a.ravel()[5:],
    "view of a view": lambda a: a[1:].T[::2].reshape(-1, 9)[3:],
    "broadcast": lambda a: np.broadcast_to(a[0], (3, 6)),
    "ndarray": lambda a: np.ndarray((4, 6), a.dtype, a, 48),
    "memoryview": lambda a: memoryview(a),
}


@pytest.mark.parametrize("view", VIEWS)
def test_memory_comes_back_exactly_when_the_last_view_dies(view):
    recycler = Recycler()
    a = recycler.empty((10, 6), np.float64)
    a[...] = np.arange(60).reshape(10, 6)
    first = address(a)
    held = VIEWS[view](a)
    before = np.array(held).copy()
    del a
    others = [recycler.empty((10, 6), np.float64) for _ in range(3)]
    for other in others:
        assert address(other) != first
        other[...] = -1
    np.testing.assert_array_equal(np.array(held), before)
    del held
    assert address(recycler.empty((10, 6), np.float64)) == first


def test_memory_is_used_again_for_any_array_of_as_many_bytes():
    recycler = Recycler()
    first = address(recycler.empty((4, 6), np.float64))
    assert address(recycler.empty((8, 6), np.float32)) == first
    assert address(recycler.empty((192,), np.uint8)) == first
    other = recycler.empty((4, 5), np.float64)
    assert address(other) != first
    assert address(recycler.empty((24,), np.int64)) == first


def test_recyclers_share_nothing():
    one, two = Recycler(), Recycler()
    first = address(one.empty((100,), np.float64))
    assert address(two.empty((100,), np.float64)) != first or address(one.empty((100,), np.float64)) == first


@cases(50)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 4)), min_size=1, max_size=60), seeds)
def test_arrays_alive_at_once_never_overlap(actions, seed):
    recycler, alive = Recycler(), []
    for number, (drop, size) in enumerate(actions):
        alive.append((recycler.empty((size, 16), np.float64), number))
        alive[-1][0][...] = number
        if drop < len(alive):
            alive.pop(drop)
        for array, value in alive:
            assert (array == value).all()


def held_bytes():
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@pytest.fixture
def traced():
    """Pages of their own are none of Python's memory, so blocks have none here."""
    tracemalloc.start()
    with patch("minidl.engine.tiles.recycler.PAGES", sys.maxsize):
        yield
    tracemalloc.stop()


def test_unused_memory_goes_back_to_the_system_with_the_next_turn_but_one(traced):
    recycler, before = Recycler(), held_bytes()
    large = [recycler.empty((1000, 1000), np.float64) for _ in range(3)]
    del large
    recycler.turn()
    assert held_bytes() - before > 23e6
    recycler.turn()
    assert held_bytes() - before < 1e6


def test_memory_in_steady_use_stays():
    recycler = Recycler()
    first = address(recycler.empty((1000, 1000), np.float64))
    for _ in range(9):
        recycler.turn()
        assert address(recycler.empty((1000, 1000), np.float64)) == first


def test_a_recycler_forgets_the_sizes_of_what_it_gave_back():
    recycler = Recycler()
    for size in range(100):
        recycler.empty((size,), np.uint8)
        recycler.turn()
    assert len(recycler._blocks) <= 2


def test_large_blocks_have_pages_of_their_own_and_a_fallback():
    small, large = aligned((PAGES - 1,), np.uint8), aligned((PAGES,), np.uint8)
    assert address(large) % 4096 == 0 and large.flags.writeable and not large.any()
    with patch("mmap.mmap", side_effect=OSError):
        assert address(aligned((PAGES,), np.uint8)) % ALIGNMENT == 0
    assert small.size == PAGES - 1


def test_a_recycler_dies_with_its_last_array(traced):
    before = held_bytes()
    array = Recycler().empty((1000, 1000), np.float64)
    array[...] = 1
    assert array.sum() == 1e6
    del array
    assert held_bytes() - before < 1e6


def test_a_loan_may_end_in_another_thread():
    recycler, box = Recycler(), []
    box.append(recycler.empty((100,), np.float64))
    first = address(box[0])
    thread = threading.Thread(target=box.clear)
    thread.start()
    thread.join(timeout=HANGS)
    assert address(recycler.empty((100,), np.float64)) == first


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_several_threads_never_get_the_same_memory():
    recycler, wrong, done, interval = Recycler(), [], [], sys.getswitchinterval()

    def work(number):
        rng = np.random.default_rng(number)
        for i in range(300):
            array = recycler.empty((int(rng.integers(1, 6)), 16), np.float64)
            array[...] = number
            recycler.empty((int(rng.integers(100, 10**6)),), np.uint8)  # of a new size: idle memory is looked for
            if (array != number).any():
                wrong.append((number, i))
        done.append(number)

    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=HANGS)
    finally:
        sys.setswitchinterval(interval)
    assert not wrong and len(done) == 4


# -------------------------------------------------------------------- in a model


@pytest.mark.parametrize("net", [small_net, vgg])
def test_what_a_user_keeps_is_never_overwritten_by_later_steps(net):
    model = fuse(randomized(net(), np.random.default_rng(0)), 2)
    optimizer, rng = Adam(model.named_parameters(), 1e-3), np.random.default_rng(1)
    kept = []
    for i in range(4):
        x = rng.normal(size=(5, 16, 14, 3))
        y, cache = model.forward(x, TRAIN.at_step(i))
        dx = model.backward(np.ones_like(y), cache)
        answer = model.forward(x, INFER)[0]
        optimizer.step()
        kept += [(a, a.copy()) for a in (y, dx, answer, dx[1:3, ::2], y.T)]
        del y, dx, answer, cache
        for array, copy in kept:
            np.testing.assert_array_equal(array, copy)


def test_the_outputs_of_single_composites_are_never_overwritten_either():
    model = fuse(randomized(small_net(), np.random.default_rng(0)), 2)
    rng, kept = np.random.default_rng(1), []
    for _ in range(3):
        x = rng.normal(size=(5, 16, 14, 3))
        for layer in model.layers.values():
            y, cache = layer.forward(x, TRAIN)
            dx = layer.backward(np.ones_like(y), cache)
            kept += [(a, a.copy()) for a in (y, dx, layer.forward(x, INFER)[0])]
            x = y
    for array, copy in kept:
        np.testing.assert_array_equal(array, copy)


@pytest.mark.slow
def test_training_does_not_take_more_and_more_memory(traced):
    model = fuse(small_net(), 1)  # of two threads, one may meet a layer late
    x = np.random.default_rng(1).normal(size=(9, 32, 32, 3))

    def step():
        y, cache = model.forward(x, TRAIN)
        model.backward(y, cache)

    for _ in range(3):
        step()
    before = held_bytes()
    for _ in range(10):
        step()
    assert held_bytes() - before < 1e5
    for _ in range(10):
        model.forward(x, TRAIN)  # caches are dropped
    assert held_bytes() - before < 5e6


def test_a_step_like_the_last_one_takes_no_new_pages():
    model, rng = fuse(small_net(), 1), np.random.default_rng(1)
    x = rng.normal(size=(5, 32, 32, 3))

    def step():
        y, cache = model.forward(x, TRAIN)
        model.backward(y, cache)

    with (
        patch("minidl.engine.tiles.recycler.PAGES", 1 << 13),  # the filters of this net are small
        patch("minidl.engine.tiles.recycler.mmap.mmap", side_effect=mmap.mmap) as taken,
    ):
        step()
        assert taken.called
        step()
        taken.reset_mock()
        step()
    assert not taken.called
