"""Batches go to the GPU one ahead, and every wait that makes this safe is needed.

The stand-in's copies come first: they are done as late as CUDA allows, and what would be a race is refused.
"""

import numpy as np
import pytest

from minidl.backend.arrays import on_device
from tests.cuda_standin import RECORD, StrictError, install, streams


@pytest.fixture
def xp(monkeypatch):
    """The stand-in as CuPy; a refusal fails the test unless it has looked, and so does a copy that is left over."""
    yield install(monkeypatch)
    assert not RECORD.refusals
    assert not streams.IN_FLIGHT


# ------------------------------------------------------------- the stand-in's own


@pytest.fixture
def copy(xp):
    """(device array, pinned array, stream): a copy of ones is on its way."""
    return begin_copy(xp)


def begin_copy(xp):
    pinned, side = streams.empty_pinned(3, np.float32), xp.cuda.Stream(non_blocking=True)
    x = xp.empty(3, np.float32)
    side.wait_event(xp.cuda.get_current_stream().record())
    pinned[...] = 1
    x.set(pinned, stream=side)
    return x, pinned, side


def test_a_copy_is_there_for_who_has_waited(copy, xp):
    x, _, side = copy
    assert np.isnan(x.get()).all()
    xp.cuda.get_current_stream().wait_event(side.record())
    assert (x.get() == 1).all()
    side.synchronize()


def test_an_event_recorded_before_a_copy_says_nothing_of_it(xp):
    event = xp.cuda.Stream(non_blocking=True).record()
    x, _, side = begin_copy(xp)
    xp.cuda.get_current_stream().wait_event(event)
    assert np.isnan(x.get()).all()
    side.synchronize()


def test_pinned_memory_written_to_too_early_sends_the_newer_numbers(copy, xp):
    x, pinned, side = copy
    pinned[0] = 2
    side.synchronize()
    assert x.get().tolist() == [2, 1, 1]


def test_an_event_is_done_when_the_host_has_waited_and_one_never_recorded_is_done(copy, xp):
    event = copy[2].record()
    assert not event.done and xp.cuda.Event().done
    RECORD.clear()
    event.synchronize()
    assert event.done
    xp.cuda.Event().synchronize()
    event.synchronize()
    assert [place.split()[1] for place in RECORD.syncs.elements()] == ["event"]


def test_a_copy_on_the_computing_stream_is_done_at_once(xp):
    x = xp.empty(3)
    x.set(np.ones(3))
    assert (x.get() == 1).all()


def written_to_after_it_arrived(xp):
    _, pinned, side = begin_copy(xp)
    xp.cuda.get_current_stream().wait_event(side.record())
    pinned[0] = 2
    side.synchronize()


def sent_again_from_the_same_memory(xp):
    _, pinned, side = begin_copy(xp)
    y = xp.empty(3, np.float32)
    side.wait_event(xp.cuda.get_current_stream().record())
    y.set(pinned, stream=side)


def sent_from_memory_that_the_pool_gave_away(xp):
    x, pinned, side = begin_copy(xp)
    del pinned
    again = streams.empty_pinned(3, np.float32)
    side.wait_event(xp.cuda.get_current_stream().record())
    x.set(again, stream=side)


def target_freed(xp):
    x, _, side = begin_copy(xp)
    del x
    side.synchronize()


def target_still_in_use(xp):
    side = xp.cuda.Stream(non_blocking=True)
    side.wait_event(xp.cuda.get_current_stream().record())
    xp.empty(3).set(streams.empty_pinned(3), stream=side)


def not_pinned(xp):
    x, side = xp.empty(3), xp.cuda.Stream(non_blocking=True)
    side.wait_event(xp.cuda.get_current_stream().record())
    x.set(np.ones(3), stream=side)


def made_on_the_side_stream(xp):
    with xp.cuda.Stream(non_blocking=True):
        xp.asarray(np.ones(3))


RACES = {
    written_to_after_it_arrived: "written to before its copy was done",
    sent_again_from_the_same_memory: "has not waited for the last copy",
    sent_from_memory_that_the_pool_gave_away: "has not waited for the last copy",
    target_freed: "freed before the copy was done",
    target_still_in_use: "may still be in use",
    not_pinned: "not page-locked",
    made_on_the_side_stream: "side stream",
}


@pytest.mark.parametrize("race", RACES, ids=lambda race: race.__name__)
def test_the_stand_in_refuses_a_race(race, xp):
    with pytest.raises(StrictError, match=RACES[race]):
        race(xp)
    RECORD.refusals.clear()
    streams.reset()


# ------------------------------------------------------------- the batches


def make_batches(*sizes):
    rng = np.random.default_rng(0)
    return [(rng.random((n, 4), np.float32), rng.integers(0, 9, n)) for n in sizes]


def assert_arrive(batches, xp):
    """All of them, in order, with their numbers; kept until the end, as an evaluation keeps the labels."""
    arrived = [(x, y, x * 2) for x, y in on_device(iter(batches), xp)]
    assert len(arrived) == len(batches)
    for (x, y, doubled), (host_x, host_y) in zip(arrived, batches, strict=True):
        np.testing.assert_array_equal(x.get(), host_x)
        np.testing.assert_array_equal(y.get(), host_y)
        np.testing.assert_array_equal(doubled.get(), host_x * 2)
        assert (x.dtype, y.dtype) == (host_x.dtype, host_y.dtype)


@pytest.mark.parametrize("sizes", [(), (3,), (3, 3), (3, 3, 3, 3, 3), (3, 3, 3, 2), (1, 2, 3)], ids=str)
def test_every_batch_arrives_as_it_is(sizes, xp):
    assert_arrive(make_batches(*sizes), xp)
    assert_arrive(make_batches(*sizes), xp)  # from page-locked memory that was in use before


def test_numpy_batches_stay_what_they_are():
    batches = iter(make_batches(3, 3))
    assert on_device(batches, np) is batches


def test_one_batch_is_under_way_while_another_is_computed_with(xp):
    asked = []

    def batches():
        for i, batch in enumerate(make_batches(3, 3, 3, 3)):
            asked.append(i)
            yield batch

    for i, (x, y) in enumerate(on_device(batches(), xp)):
        assert asked[-1] == min(i + 1, 3)
        under_way = [copy for copy in streams.IN_FLIGHT if not copy.arrived]
        assert len(under_way) == (len((x, y)) if i < 3 else 0)


def test_the_host_waits_for_the_copy_two_batches_before_and_once_at_the_end(xp):
    RECORD.clear()
    for _ in on_device(iter(make_batches(3, 3, 3, 3, 3)), xp):
        pass
    assert sorted(place.split()[1] for place in RECORD.syncs.elements()) == ["event"] * 3 + ["stream"]
    assert RECORD.uploads.total() == 10


def test_an_epoch_left_early_leaves_no_copy_under_way(xp):
    batches = on_device(iter(make_batches(3, 3, 3)), xp)
    next(batches)
    batches.close()
    assert not streams.IN_FLIGHT


def test_an_error_of_the_loader_comes_through(xp):
    def batches():
        yield from make_batches(3, 3)
        raise OSError("image 7")

    arrived = on_device(batches(), xp)
    next(arrived)
    with pytest.raises(OSError, match="image 7"):
        next(arrived)


def skip(*_):
    """In the place of a wait."""


# What is left out, and how it shows.
WAITS = {
    "the step's for its batch": lambda patch, s: patch.setattr(s.Stream, "wait_event", waits_if(s, late=True)),
    "the copy's for its memory": lambda patch, s: patch.setattr(s.Stream, "wait_event", waits_if(s, late=False)),
    "the host's for a pinned buffer": lambda patch, s: patch.setattr(s.Event, "synchronize", skip),
    "the host's at the end": lambda patch, s: patch.setattr(s.Stream, "synchronize", skip),
}


def waits_if(s, late):
    """A Stream.wait_event that only streams with or without late copies heed."""
    wait = s.Stream.wait_event
    return lambda stream, event: wait(stream, event) if stream._late == late else None


@pytest.mark.parametrize("left_out", WAITS)
def test_no_wait_can_be_left_out(left_out, xp, monkeypatch):
    WAITS[left_out](monkeypatch, streams)
    with pytest.raises((StrictError, AssertionError)):
        for _ in range(2):
            assert_arrive(make_batches(3, 3, 3, 3), xp)
    RECORD.refusals.clear()
    streams.reset()
