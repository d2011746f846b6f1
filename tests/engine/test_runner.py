"""The runner of tiles: order of lanes, exceptions, BLAS threads; and that nothing remains afterwards."""

import gc
import os
import sys
import threading
import time
from collections import deque
from functools import partial

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from minidl.engine.tiles.grid import grid_of
from minidl.engine.tiles.helpers import Helpers
from minidl.engine.tiles.runner import (
    ONE_BLAS_THREAD,
    Scratch,
    TileRunner,
    available_cores,
)
from tests.conftest import HANGS, release_blas

several_threads = pytest.mark.parametrize("threads", [1, 2, 3, 8, 11])


def blas_threads():
    """The numbers of threads of NumPy's BLAS. SciPy brings one of its own, which the engine never calls."""
    pools = [pool for pool in threadpool_info() if pool["user_api"] == "blas"]
    return {pool["num_threads"] for pool in [p for p in pools if "numpy" in p["filepath"]] or pools}


@pytest.fixture
def own_number():
    """The number of threads that BLAS has outside all blocks: 2, on however many cores."""
    if not blas_threads():
        pytest.skip("threadpoolctl knows no BLAS of this NumPy")
    release_blas(2)
    try:
        yield {2}
        assert blas_threads() == {2}
    finally:
        release_blas(1)


# ---------------------------------------------------------------- tiles and lanes


@several_threads
@pytest.mark.parametrize("images", [1, 2, 7, 8, 9, 37])
def test_every_tile_is_done_once_and_a_lane_in_rising_order(threads, images):
    grid = grid_of(images, 2)
    seen = [[] for _ in grid.lanes]
    TileRunner(threads).run(lambda tile, lane, scratch: seen[lane].append(tile), grid)
    assert seen == [list(tiles) for tiles in grid.lanes]


@several_threads
def test_tiles_that_are_just_a_number_are_lanes_of_their_own(threads):
    seen = []
    TileRunner(threads).run(lambda tile, lane, scratch: seen.append((tile, lane)), 20)
    assert sorted(seen) == [(tile, tile) for tile in range(20)]


def test_threads_work_side_by_side():
    barrier = threading.Barrier(3)  # is passed only when three tasks run at once
    TileRunner(3).run(lambda tile, lane, scratch: barrier.wait(timeout=HANGS), 3)


def test_tasks_at_once_have_scratch_memory_of_their_own_which_is_used_again():
    runner, together, seen = TileRunner(2), threading.Barrier(2), []

    def task(tile, lane, scratch):
        together.wait(timeout=HANGS)  # so each of two threads has one of the two tiles
        seen.append(scratch("a", (3,), np.float64))

    for _ in range(3):
        runner.run(task, 2)
    first, second, *later = map(id, seen)
    assert first != second and set(later) == {first, second}


def test_no_threads_are_asked_for_means_all_cores():
    assert TileRunner().threads == TileRunner(0).threads == available_cores() >= 1


def test_scratch_is_the_same_array_again():
    scratch = Scratch()
    a = scratch("a", (2, 3), np.float32)
    assert a.dtype == np.float32 and a.shape == (2, 3) and a.ctypes.data % 64 == 0
    assert scratch("a", (2, 3), np.float32) is a
    assert not np.shares_memory(scratch("b", (2, 3), np.float32), a)


def test_arrays_of_one_name_share_the_memory_of_the_largest():
    scratch, shapes = Scratch(), [(2, 3), (5, 7), (3, 2), (0, 4)]
    for shape in shapes * 2:
        for dtype in (np.float32, np.float64, bool):
            a = scratch("a", shape, dtype)
            a[...] = 1  # within its memory
            assert a.shape == shape and a.dtype == dtype and a.ctypes.data % 64 == 0
    assert scratch("a", (2, 3), bool) is scratch("a", (2, 3), bool)
    assert np.shares_memory(scratch("a", (2, 3), bool), scratch("a", (5, 7), np.float64))
    assert [len(block) for block in scratch._blocks.values()] == [5 * 7 * 8]
    for turn in (1, 2):  # the first one after the largest still has its memory
        scratch.at_turn(turn)
        scratch("a", (3, 2), np.float32)
    scratch("a", (3, 2), np.float32)
    assert [len(block) for block in scratch._blocks.values()] == [3 * 2 * 4]


def test_bordered_arrays_share_no_memory():
    scratch = Scratch()
    arrays = [scratch.bordered("a", shape, np.float32, lambda a: a[1:-1])[0] for shape in ((4, 4), (4, 3), (8, 2))]
    arrays += [scratch("a", (4, 4), np.float32)]
    assert not any(np.shares_memory(a, b) for i, a in enumerate(arrays) for b in arrays[:i])


def test_a_border_is_zero_and_stays_zero():
    scratch = Scratch()
    scratch("a", (4, 4), np.float32)[...] = np.nan  # an array of its own
    for _ in range(2):
        whole, inside = scratch.bordered("a", (4, 4), np.float32, lambda a: a[1:3, 1:3])
        inside[...] = 7
        assert whole.sum() == 4 * 7 and whole[1:3, 1:3].all()
        with pytest.raises(ValueError, match="read-only"):
            whole[0] = 1


# ------------------------------------------------------------------------- jobs


def test_jobs_for_later_are_done_beside_the_next_run_or_at_the_end_of_the_pass():
    runner, done = TileRunner(2), []
    with runner.whole_pass():
        runner.later(lambda: done.append(1))
        with runner.whole_pass():  # a layer's part in it
            runner.later(lambda: done.append(2))
        assert not done
        runner.run(lambda tile, lane, scratch: None, 2)
        assert sorted(done) == [1, 2]
        runner.later(lambda: done.append(3))
    assert done[2:] == [3]


def test_jobs_for_later_are_those_of_one_pass_in_one_thread():
    runner, done = TileRunner(2), []
    with pytest.raises(ZeroDivisionError), runner.whole_pass():
        runner.later(lambda: done.append("of a pass that raised"))
        raise ZeroDivisionError
    with runner.whole_pass():
        runner.later(lambda: done.append("right"))
        other = threading.Thread(target=runner.run, args=(lambda tile, lane, scratch: None, 2))
        other.start()
        other.join(timeout=HANGS)
        assert not done
    assert done == ["right"]


@several_threads
@pytest.mark.parametrize("tiles", [0, 1, 5, 20])
@pytest.mark.parametrize("jobs", [0, 1, 7])
def test_every_job_is_done_once_beside_the_tiles(threads, tiles, jobs):
    done = []
    TileRunner(threads).run(
        lambda tile, lane, scratch: done.append(tile),
        tiles,
        [partial(done.append, f"job {i}") for i in range(jobs)],
    )
    assert sorted(done, key=str) == sorted([*range(tiles), *(f"job {i}" for i in range(jobs))], key=str)


@several_threads
def test_an_exception_in_a_job_comes_out(threads):
    def fail():
        raise ZeroDivisionError("job")

    with pytest.raises(ZeroDivisionError):
        TileRunner(threads).run(lambda tile, lane, scratch: None, 3, [fail])


# ------------------------------------------------------------------- exceptions


@several_threads
def test_an_exception_comes_out_after_all_threads_have_come_to_rest(threads):
    failed, begun, ended = threading.Event(), [], []

    def task(tile, lane, scratch):
        begun.append(tile)
        try:
            if tile == 0:
                failed.set()
                raise ZeroDivisionError("tile 0")
            failed.wait(timeout=HANGS)  # the others are at work when tile 0 fails
            time.sleep(0.01)
        finally:
            ended.append(tile)

    runner = TileRunner(threads)
    with pytest.raises(ZeroDivisionError, match="tile 0"):
        runner.run(task, 11)
    assert sorted(begun) == sorted(ended)
    done = []
    runner.run(lambda tile, lane, scratch: done.append(tile), 5)  # it still works
    assert sorted(done) == list(range(5))


@pytest.mark.parametrize("bad", [0, 1, 2, 10])
def test_an_exception_of_any_tile_comes_out(bad):
    def task(tile, lane, scratch):
        if tile == bad:
            raise KeyError(tile)

    for threads in (1, 2, 3):
        with pytest.raises(KeyError, match=str(bad)):
            TileRunner(threads).run(task, 11)


# ------------------------------------------------------------------ BLAS threads


@several_threads
def test_blas_has_one_thread_in_a_task_and_its_own_number_afterwards(threads, own_number):
    inside = []
    TileRunner(threads).run(lambda tile, lane, scratch: inside.append(blas_threads()), 4)
    assert inside == [{1}] * 4
    assert blas_threads() == own_number


@pytest.mark.parametrize("bad", [0, 1])
def test_blas_gets_its_threads_back_after_an_exception(bad, own_number):
    def task(tile, lane, scratch):
        if tile == bad:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        TileRunner(2).run(task, 4)
    assert blas_threads() == own_number


def test_blocks_of_one_blas_thread_may_be_nested(own_number):
    during, inside = ONE_BLAS_THREAD.during, []

    def run():
        TileRunner(2).run(lambda tile, lane, scratch: None, 4)
        inside.append(blas_threads())

    during(lambda: (during(run), inside.append(blas_threads())))
    assert inside == [{1}, {1}] and blas_threads() == own_number
    with pytest.raises(ZeroDivisionError):
        during(lambda: during(lambda: 1 / 0))
    assert blas_threads() == own_number


def inside_two_threads(leaving_order):
    """BLAS's numbers of threads while two threads are inside, while one is, and after both; all before they end."""
    release_blas()
    entered, leave, left = ([threading.Event() for _ in range(2)] for _ in range(3))
    end = threading.Event()

    def work(i):
        ONE_BLAS_THREAD.during(lambda: (entered[i].set(), leave[i].wait(timeout=HANGS)))
        left[i].set()
        end.wait(timeout=HANGS)

    threads = [threading.Thread(target=work, args=(i,)) for i in range(2)]
    numbers = []
    for thread, event in zip(threads, entered, strict=True):
        thread.start()
        assert event.wait(timeout=HANGS)
    for i in leaving_order:
        numbers.append(blas_threads())
        leave[i].set()
        assert left[i].wait(timeout=HANGS)
    numbers.append(blas_threads())
    end.set()
    for thread in threads:
        thread.join(timeout=HANGS)
    return numbers


@pytest.mark.parametrize("order", [
    (1, 0),
    (0, 1),
])  # fmt: skip
def test_two_threads_may_leave_such_blocks_in_any_order(order, own_number):
    try:
        assert inside_two_threads(order) == [{1}, {1}, own_number]
    finally:
        release_blas(max(own_number))


def test_after_a_run_other_threads_may_limit_blas_too(own_number):
    release_blas()
    runner, inside = TileRunner(1), []
    runner.run(lambda tile, lane, scratch: None, 1)
    thread = threading.Thread(target=runner.run, args=(lambda *_: inside.append(blas_threads()), 1))
    thread.start()
    thread.join(timeout=HANGS)
    assert inside == [{1}]


def test_each_block_gives_back_the_number_from_before_it(own_number):
    TileRunner(1).run(lambda tile, lane, scratch: None, 1)
    with threadpool_limits(limits=1, user_api="blas"):
        TileRunner(1).run(lambda tile, lane, scratch: None, 1)
        assert blas_threads() == {1}
    assert blas_threads() == own_number


# --------------------------------------------------------------- nothing is left


def tile_threads():
    return {thread for thread in threading.enumerate() if thread.name.startswith("minidl-tiles")}


def test_a_runner_has_no_threads_before_it_works_or_with_one_thread():
    before = tile_threads()
    idle, alone = TileRunner(3), TileRunner(1)
    alone.run(lambda tile, lane, scratch: None, 8)
    idle.run(lambda tile, lane, scratch: None, 1)
    assert tile_threads() == before


def test_a_dropped_runner_leaves_no_threads():
    before = tile_threads()
    runner, together = TileRunner(3), threading.Barrier(3)
    runner.run(lambda tile, lane, scratch: together.wait(timeout=HANGS), 3)
    own = tile_threads() - before
    assert len(own) == 2
    del runner
    gc.collect()
    for thread in own:
        thread.join(timeout=HANGS)
    assert not any(thread.is_alive() for thread in own)


def test_a_helper_that_begins_when_all_is_done_does_nothing(monkeypatch):
    helpers, done, waiting = Helpers(), [], []
    monkeypatch.setattr(helpers, "_ask", lambda work, number: waiting.append(work))

    def at_the_end(frame, event, arg):  # of `share`, which has let go of its work then
        if waiting and frame.f_locals.get("work", done) is None:
            waiting.pop()()
        return at_the_end

    trace = sys.gettrace()
    sys.settrace(lambda frame, *_: at_the_end if frame.f_code is Helpers.share.__code__ else None)
    try:
        helpers.share(lambda: done.append(True), deque(), 1)
    finally:
        sys.settrace(trace)
    assert done == [True] and not waiting


def test_environment_and_numpys_settings_stay_as_they_are():
    with np.errstate(over="raise", under="warn"):
        before = os.environ.copy(), np.geterr(), np.getbufsize()
        TileRunner(2).run(lambda tile, lane, scratch: np.ones(3) @ np.ones(3), 8)
        assert (os.environ.copy(), np.geterr(), np.getbufsize()) == before
