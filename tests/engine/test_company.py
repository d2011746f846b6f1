"""A fused model among other threads, processes and sizes: every answer is the one it gives alone, to the bit."""

import copy
import os
import pickle
import signal
import sys
import threading
import time
from multiprocessing import get_context

import numpy as np
import pytest

from minidl.engine import fuse
from minidl.engine.chain import FusedSequential
from minidl.engine.tiles.runner import ONE_BLAS_THREAD, TileRunner
from minidl.errors import UsageError
from minidl.layers import INFER, PROBE, BatchNorm2D, MaxPool2D, Sequential
from tests.conftest import HANGS
from tests.engine.test_fused import block, same_bits, small_net, stem_net, vgg
from tests.engine.test_runner import blas_threads, own_number  # noqa: F401 (a fixture)
from tests.examples import STEP as TRAIN
from tests.strategies import randomized

posix = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


def network(threads=2, make=small_net):
    """A fused model whose running statistics stand still, and some batches of different sizes."""
    model = randomized(make(), np.random.default_rng(0))
    for leaf in model.leaves():
        if isinstance(leaf, BatchNorm2D):
            leaf.momentum = 0.0
    rng = np.random.default_rng(1)
    return fuse(model, threads), [rng.normal(size=(n, 16, w, 3)) for n, w in ((5, 14), (3, 16), (9, 14))]


def answer(model, x):
    return model.forward(x, INFER)[0]


def gradients_of(model, x):
    """The gradients that one training step adds."""
    y, cache = model.forward(x, TRAIN)
    model.backward(np.cos(np.arange(y.size)).reshape(y.shape), cache)
    return {name: p.grad.copy() for name, p in model.named_parameters().items()}


def at_once(*works):
    """Calls all works at once, each again and again; raises what one of them raised."""
    errors, interval = [], sys.getswitchinterval()

    def again(work):
        try:
            for _ in range(12):
                work()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=again, args=(work,)) for work in works]
    sys.setswitchinterval(1e-5)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=HANGS)
    finally:
        sys.setswitchinterval(interval)
    if errors:
        raise errors[0]


# ---------------------------------------------------------------------- threads


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("callers", [2, 3])
def test_callers_of_one_model_get_the_answers_they_would_get_alone(threads, callers):
    model, xs = network(threads)
    alone = [answer(model, x) for x in xs]
    at_once(
        *(lambda x=x, y=y: same_bits(answer(model, x), y) for x, y in list(zip(xs, alone, strict=True))[:callers])
    )


def test_a_model_is_trained_and_asked_at_once():
    model, (x, other, _) = network()
    model.zero_grad()
    alone, y = gradients_of(model, x), answer(model, other)

    def step():
        model.zero_grad()
        for name, grad in gradients_of(model, x).items():
            same_bits(grad, alone[name])

    at_once(step, lambda: same_bits(answer(model, other), y))


def test_gradients_of_several_threads_add_up():
    model, (x, *_) = network()
    model.zero_grad()
    once = gradients_of(model, x)
    model.zero_grad()
    at_once(*[lambda: gradients_of(model, x)] * 3)
    for name, p in model.named_parameters().items():
        np.testing.assert_allclose(p.grad, 36 * once[name], rtol=1e-9, atol=1e-9 * np.abs(once[name]).max())


def test_passes_that_write_to_a_model_take_turns():
    model, (x, *_) = network()
    y, cache = model.forward(x, TRAIN)
    layer, z = model.layers["same+pool4"], np.ones((2, 8, 8, 11))
    u, kept = layer.forward(z, TRAIN)
    last = FusedSequential({"fc": model.layers["fc"]}, model.runner)  # with nothing fused in it
    waits = {
        "a layer's backward": lambda: layer.backward(u, kept),
        "plain layers' backward": lambda: last.backward(y, [np.ones((len(y), 5))]),
        "forward": lambda: model.forward(x, TRAIN),
        "backward": lambda: model.backward(y, cache),
        "a layer's forward": lambda: layer.forward(z, TRAIN),
        "infer": lambda: answer(model, x),
        "a layer's infer": lambda: answer(layer, z),
    }
    threads = [threading.Thread(target=work, name=name) for name, work in waits.items()]
    with model.runner.lock:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=0.1)
            assert thread.is_alive(), thread.name
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()


def test_a_step_may_begin_in_one_thread_and_end_in_another():
    model, (x, *_) = network()
    model.zero_grad()
    alone = gradients_of(model, x)
    model.zero_grad()
    y, cache = model.forward(x, TRAIN)
    dy = np.cos(np.arange(y.size)).reshape(y.shape)
    thread = threading.Thread(target=model.backward, args=(dy, cache))
    thread.start()
    thread.join(timeout=HANGS)
    for name, p in model.named_parameters().items():
        same_bits(p.grad, alone[name])


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_a_task_may_run_tasks_on_the_same_runner(threads):
    runner, done = TileRunner(threads), []

    def task(tile, lane, scratch):
        mine = scratch("a", (3,), np.float64)
        mine[...] = tile
        runner.run(lambda i, lane, scratch: done.append(scratch("a", (3,), np.float64).fill(-1)), 5)
        assert (mine == tile).all()

    runner.run(task, 4)
    assert len(done) == 20


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_tasks_keep_to_the_callers_errstate(threads):
    with np.errstate(over="raise"):
        for bad in range(8):
            with pytest.raises(FloatingPointError):
                TileRunner(threads).run(
                    lambda tile, *_, bad=bad: np.float32(3e38) * np.float32(1 + 9 * (tile == bad)), 8
                )


# -------------------------------------------------------------------- interrupts


@pytest.fixture
def ctrl_c():
    """SIGINT raises KeyboardInterrupt, also where the shell that started the tests has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@posix
@pytest.mark.parametrize("interrupts", [1, 2, 3])
def test_run_returns_when_all_have_finished_however_often_it_is_interrupted(
    interrupts,
    own_number,  # noqa: F811
    ctrl_c,
):
    runner, at_work, main, ended = TileRunner(2), threading.Barrier(2), threading.get_ident(), []

    def task(tile, lane, scratch):
        at_work.wait(timeout=HANGS)
        if threading.get_ident() == main:
            return  # and wait for the other
        for _ in range(interrupts):
            time.sleep(0.05)
            signal.pthread_kill(main, signal.SIGINT)
        time.sleep(0.05)
        ended.append(tile)

    with pytest.raises(KeyboardInterrupt):
        runner.run(task, 2)
    assert len(ended) == 1
    assert blas_threads() == own_number


# --------------------------------------------------------------------- processes


@posix
def test_a_forked_child_answers_like_its_parent(own_number):  # noqa: F811
    model, (x, *_) = network()
    alone, inside, leave = answer(model, x), threading.Event(), threading.Event()

    def busy():  # as in the middle of a training pass
        with model.runner.lock:
            ONE_BLAS_THREAD.during(lambda: (inside.set(), leave.wait(timeout=HANGS)))

    def child(queue):
        queue.put((blas_threads(), answer(model, x), len(gradients_of(model, x)), blas_threads()))

    thread = threading.Thread(target=busy)
    thread.start()
    assert inside.wait(timeout=HANGS)
    context = get_context("fork")
    queue = context.Queue()
    process = context.Process(target=child, args=(queue,), daemon=True)
    try:
        process.start()
        before, y, gradients, after = queue.get(timeout=HANGS)
    finally:
        leave.set()
        thread.join(timeout=HANGS)
        process.kill()
    assert before == after == own_number and gradients
    same_bits(y, alone)


COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda model: pickle.loads(pickle.dumps(model))}


@pytest.mark.parametrize("how", COPIES)
@pytest.mark.parametrize("make", [small_net, vgg])
def test_a_copy_of_a_fused_model_is_a_model_of_its_own(how, make):
    model, (x, *_) = network(make=make)
    alone = answer(model, x)  # it has threads and memory by now
    other = COPIES[how](model)
    same_bits(answer(other, x), alone)
    assert other.runner is not model.runner and other.runner.threads == 2
    for name, p in other.named_parameters().items():
        assert not np.shares_memory(p.value, model.named_parameters()[name].value)
        p.value[...] = 0
    same_bits(answer(model, x), alone)
    assert not np.array_equal(answer(other, x), alone)


# ------------------------------------------------------------------------- memory


def scratch_bytes(model):
    return sum(len(block) for scratch in model.runner._scratch for block in scratch._blocks.values())


def recycled_bytes(model):
    return sum(block.memory.size for blocks in model.runner._memory._blocks.values() for block in blocks)


@pytest.mark.parametrize("training", [False, True])
def test_working_memory_is_that_of_the_last_two_sizes(training):
    def most(sizes):
        model, _ = network(threads=1)
        held = 0
        for size in sizes:
            x = np.zeros((3, size, size, 3))
            gradients_of(model, x) if training else answer(model, x)
            held = max(held, scratch_bytes(model) + recycled_bytes(model))
        return held

    assert most(range(16, 48, 2)) <= 2 * most([46])


def test_a_large_batch_is_forgotten_in_time():
    model, (x, *_) = network(threads=1)
    answer(model, x)
    usual = scratch_bytes(model)
    answer(model, np.zeros((40, 48, 48, 3)))
    assert scratch_bytes(model) > 4 * usual
    for _ in range(40):
        answer(model, x)
    assert scratch_bytes(model) == usual


# ------------------------------------------------------------- what callers may do


@pytest.mark.parametrize("engine", [fuse, lambda model, threads: model], ids=["fused", "plain"])
@pytest.mark.parametrize("mode", [TRAIN, PROBE], ids=["train", "probe"])
@pytest.mark.parametrize("make", [
    small_net, vgg, stem_net,
    lambda: Sequential(block(3, 8)), lambda: Sequential(block(3, 8) | {"pool": MaxPool2D(2)}),
])  # fmt: skip
def test_an_output_belongs_to_the_caller(engine, mode, make):
    def gradients(change):
        model = engine(randomized(make(), np.random.default_rng(0)), threads=1)
        y, cache = model.forward(np.random.default_rng(1).normal(size=(4, 16, 14, 3)), mode)
        dy = np.cos(np.arange(y.size)).reshape(y.shape)
        if change:
            y -= y.mean()
        model.zero_grad()
        dx = model.backward(dy, cache)
        return [dx, *(p.grad for p in model.named_parameters().values())]

    for got, want in zip(gradients(True), gradients(False), strict=True):
        same_bits(got, want)


@pytest.mark.parametrize("threads", [-1, -3, 1.5, "2", None])
def test_a_number_of_threads_that_is_none_is_refused(threads):
    with pytest.raises(UsageError, match="0 for all cores"):
        fuse(small_net(), threads)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float16, bool])
@pytest.mark.parametrize("mode", [INFER, TRAIN], ids=["infer", "train"])
@pytest.mark.parametrize("engine", [fuse, lambda model, threads: model], ids=["fused", "plain"])
def test_images_that_are_not_normalized_are_refused(engine, mode, dtype):
    with pytest.raises(UsageError, match=f"{np.dtype(dtype)}.*float32"):
        engine(small_net(), 1).forward(np.zeros((2, 16, 16, 3), dtype), mode)
