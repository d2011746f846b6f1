"""Shares out the calls of a recording in two sides, so that two threads can work on one image.

Most calls can be cut in half: an element-wise one along any axis, a product of many matrices into those of half of
them, and a product of large matrices into half of the rows, if BLAS then computes the same bits. Calls that don't
need each other's results may also run side by side: a small convolution beside a large one. A side may go on to its
next call without waiting, as long as it reads and writes nothing that the other one writes, and the other way round.
Otherwise the sides wait for each other: a new *phase* begins.

Which axis is best depends on the calls that follow: if all of them are cut along the same pixels or channels, no side
waits. So `share_out` goes through the calls with the few best plans so far (a beam search). A plan's cost is the time
of the busier side in every phase, and the waiting. The times are rough guesses from the sizes of the arrays. Nothing
is measured, so the plan is always the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np

from minidl.engine.recordings.recorder import Call, copy

Array = np.ndarray
Phase = tuple[list[Call], list[Call]]  # the calls of both sides

BEAM = 6  # plans that are followed at the same time
WAIT = 30.0  # us for both sides to meet
CALL = 2.0  # us that a call takes besides its work
MEET = 15.0  # us that it takes longer if the other side makes calls too, and holds the interpreter lock
UNKNOWN = 20.0  # us: a layer as a whole, the sum over an axis
ROWS = (48, 12)  # at multiples of which a matrix may be cut: BLAS takes so many rows at once
SMALL = 10.0  # us: calls that aren't worth cutting


class Share(NamedTuple):
    """One way to share out a call: what each side does of it."""

    sides: tuple[Call | None, Call | None]
    times: tuple[float, float]  # us


class Plan(NamedTuple):
    """How the calls so far are shared out."""

    before: Plan | None
    share: Share | None  # of the last call
    phase: tuple[Share, ...]  # all shares of the last phase
    loads: tuple[float, float]  # us of both sides in it
    calls: tuple[int, int]  # of both sides in it
    done: float  # us of the phases before it

    @property
    def time(self) -> float:
        return self.done + max(self.loads) + MEET * min(self.calls)

    def then(self, share: Share, wait: bool) -> Plan:
        number = tuple(int(call is not None) for call in share.sides)
        if wait:
            return Plan(self, share, (share,), share.times, number, self.time + WAIT)
        loads, calls = (
            tuple(map(sum, zip(*pair, strict=True))) for pair in ((self.loads, share.times), (self.calls, number))
        )
        return Plan(self, share, (*self.phase, share), loads, calls, self.done)


def share_out(calls: Sequence[Call]) -> list[Phase]:
    """The calls in phases, whose two sides may run at once, or one after the other in any order."""
    overlaps = _Overlaps()
    plans = [Plan(None, None, (), (0.0, 0.0), (0, 0), 0.0)]
    for call in _by_level(calls, overlaps):
        shares = list(_shares(call, overlaps))
        new = []
        for plan, share in product(plans, shares):
            if not any(overlaps.conflict(share, other) for other in reversed(plan.phase)):
                new.append(plan.then(share, wait=False))
            elif share.times[0]:  # a phase that begins with the second side is the same as one with the first
                new.append(plan.then(share, wait=True))
        plans = sorted(new, key=lambda plan: (plan.time, sum(plan.loads)))[:BEAM]
    return _phases(plans[0])


def _phases(plan: Plan) -> list[Phase]:
    phases: list[Phase] = []
    while plan.before:
        phases.append(tuple([share.sides[side] for share in plan.phase if share.sides[side]] for side in (0, 1)))
        for _ in plan.phase:
            plan = plan.before
    return phases[::-1]


def _by_level(calls: Sequence[Call], overlaps: _Overlaps) -> list[Call]:
    """The calls in an order in which those that need not wait for each other are neighbours."""
    levels: list[int] = []
    for i, call in enumerate(calls):
        levels.append(1 + max((levels[j] for j in range(i) if overlaps.conflicting(calls[j], call)), default=0))
    return [calls[i] for i in sorted(range(len(calls)), key=levels.__getitem__)]


def _shares(call: Call, overlaps: _Overlaps) -> Iterator[Share]:
    """The call as a whole for either side, and its halves along each axis."""
    time = _time(call)
    yield Share((call, None), (time, 0.0))
    yield Share((None, call), (0.0, time))
    if time > SMALL:
        for first, second in _halves(call):
            if not overlaps.conflicting(first, second):
                yield Share((first, second), (_time(first), _time(second)))


def _halves(call: Call) -> Iterator[tuple[Call, Call]]:
    """The call in two, along each axis of its output that can be cut without another bit in the result."""
    out = call.out
    axes = out.ndim - 2 if _of_matrices(call) else out.ndim if _elementwise(call) else 0
    for axis in range(axes):
        if middle := out.shape[axis] // 2:
            yield _cut_at(call, axis - out.ndim, middle)
    if _of_matrices(call):
        for rows in ROWS:
            middle = round(out.shape[-2] / 2 / rows) * rows
            if 0 < middle < out.shape[-2] and _same_bits(call, halves := _cut_at(call, -2, middle)):
                yield halves
                break


def _cut_at(call: Call, axis: int, middle: int) -> tuple[Call, Call]:
    """The call in two, along an axis of its output, counted from the last."""
    function, inputs, out, options = call
    parts = []
    for part in (slice(None, middle), slice(middle, None)):
        *cut, cut_out = (_cut(a, axis, part) for a in (*inputs, out))
        if axis == -2 and _of_matrices(call):
            cut[1] = inputs[1]  # rows of the first matrix times all of the second
        parts.append(Call(function, tuple(cut), cut_out, options))
    return tuple(parts)


def _same_bits(call: Call, halves: tuple[Call, Call]) -> bool:
    """Whether BLAS multiplies half of the rows in the same order; tried with the numbers that the arrays have now."""
    call.ready()()
    whole = call.out.copy()
    call.out[...] = np.nan
    for half in halves:
        half.ready()()
    return np.array_equal(whole, call.out) and bool(whole.any())


def _of_matrices(call: Call) -> bool:
    return call.function is np.matmul and all(a.ndim > 1 for a in (*call.inputs, call.out)) and not call.options


def _elementwise(call: Call) -> bool:
    ufunc = isinstance(call.function, np.ufunc) and call.function.signature is None
    return (ufunc or call.function is copy) and not call.options


def _cut(a: Any, axis: int, part: slice) -> Any:
    """The part of `a` along an axis, counted from the last; all of it if it is the same for the whole axis."""
    if np.ndim(a) < -axis or a.shape[axis] == 1:
        return a
    return a[(..., part, *(slice(None),) * (-axis - 1))]


def _time(call: Call) -> float:
    """A guess at how long the call takes, in us; the numbers are those of one core of an AMD EPYC with AVX2."""
    a, out = call.inputs[0], call.out
    if _of_matrices(call):
        (rows, inner), columns = a.shape[-2:], out.shape[-1]
        products = out.size // (rows * columns)
        arithmetic = -(-rows // 4) * 4 * inner * columns / 40_000  # BLAS works on four rows at a time
        packing = inner * columns / 8_000
        return CALL + products * (0.1 + arithmetic + packing) + out.size / 10_000
    if not _elementwise(call):
        return UNKNOWN
    arrays = [a for a in (*call.inputs, out) if isinstance(a, np.ndarray)]
    return CALL + out.size * len(arrays) / 20_000 + 0.03 * out.size / _run(arrays)


def _run(arrays: Sequence[Array]) -> int:
    """How many numbers NumPy's innermost loop takes at once: those with the same distance in each array."""
    shape = np.broadcast_shapes(*(a.shape for a in arrays))
    strides = [np.broadcast_to(a, shape).strides for a in arrays]
    run = 1
    for axis in range(len(shape) - 1, -1, -1):
        if axis + 1 < len(shape) and any(s[axis] != s[axis + 1] * shape[axis + 1] for s in strides):
            break
        run *= shape[axis]
    return max(run, 1)


class _Overlaps:
    """Which calls touch the same memory, at least one of them writing; remembers its answers."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], bool] = {}
        self._kept: list[Call] = []  # so that no other call gets the id of one of them

    def conflict(self, a: Share, b: Share) -> bool:
        """Whether a side's work in one of them touches the other side's work in the other."""
        return self.conflicting(a.sides[0], b.sides[1]) or self.conflicting(a.sides[1], b.sides[0])

    def conflicting(self, a: Call | None, b: Call | None) -> bool:
        if a is None or b is None:
            return False
        key = id(a), id(b)
        if key not in self._known:
            self._kept += a, b
            self._known[key] = any(map(_touch, (a.out,) * (1 + len(b.inputs)), (b.out, *b.inputs))) or any(
                _touch(b.out, c) for c in a.inputs
            )
        return self._known[key]


def _touch(a: Any, b: Any) -> bool:
    if not (isinstance(a, np.ndarray) and isinstance(b, np.ndarray) and np.may_share_memory(a, b)):
        return False
    try:
        return np.shares_memory(a, b, max_work=100)
    except np.exceptions.TooHardError:
        return True
