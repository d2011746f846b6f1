"""Is a learner's function fit for a training? It must be fast enough, and right for the arrays of this network."""

from __future__ import annotations

import copy
import inspect
import time
from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import numpy as np

from minidl.learn.exercises import EXERCISES
from minidl.learn.limits import Endless, harmless, time_limit
from minidl.learn.plug import ONLY, Plugs, wrapped
from minidl.learn.running import raised

SLOWER = 5.0  # times; then the real function runs in its place
LEAST = 0.005  # seconds that a call may take in any case
WAIT = 3.0  # seconds that are waited for a call in any case: other programs may hold it up
TIMED = 5  # calls of each function that are timed; the fastest counts
CLOSE = 0.01  # float32 sums over a batch, in another order

# What contains the rest of the network: its time is that of the others.
WHOLE = ("sequential_backward", "concat_backward", "residual_backward", "train_step")


def drop_unfit(plugs: Plugs, run: Callable[[], object]) -> None:
    """Takes out of `plugs` every function that is more than SLOWER times slower than the real one, or gives other
    numbers.

    `run` makes a training step on copies. The arguments that the real functions get there are the ones to be timed.
    """
    for name, arguments in _recorded(plugs, run).items():
        if why := _unfit(EXERCISES[name].reference, plugs.functions[name], arguments):
            plugs.refused[name] = f"yours is right in the check, but {why}"
            del plugs.functions[name]


def _unfit(real: Callable, own: Callable, call: tuple) -> str:
    """Why a function can't take the place of the real one for this call; "" if it can."""
    seconds, right = _fastest(real, call, None)
    try:
        with harmless():
            own_seconds, given = _fastest(own, call, max(WAIT, SLOWER * seconds))
    except Endless:
        return f"more than {max(WAIT, SLOWER * seconds) / seconds:.0f} times slower"
    except (Exception, SystemExit) as error:
        return f"raises {raised(error, getattr(getattr(own, '__code__', None), 'co_filename', ''))} in this network"
    if own_seconds > max(LEAST, SLOWER * seconds):
        return f"{own_seconds / seconds:.0f} times slower"
    return "" if _alike(given, right) else "gives other numbers for the arrays of this network"


def _recorded(plugs: Plugs, run: Callable[[], object]) -> dict[str, tuple]:
    """The arguments of the largest call that each real function gets in `run`."""
    found: dict[str, tuple[int, tuple]] = {}

    def recording(name: str, real: Callable) -> Callable:
        def call(*args: Any, **options: Any) -> Any:
            bound = signature.bind(*args, **options)
            size = sum(getattr(a, "size", 0) for a in args)
            fits = name not in ONLY or ONLY[name](bound.arguments)
            if fits and size > found.get(name, (-1, ()))[0]:
                found[name] = size, copy.deepcopy((bound.args, bound.kwargs))
            return real(*args, **options)

        signature = inspect.signature(EXERCISES[name].reference)
        return call

    with wrapped([name for name in plugs.functions if name not in WHOLE], recording):
        run()
    return {name: call for name, (_, call) in found.items()}


def _fastest(function: Callable, call: tuple, limit: float | None) -> tuple[float, Any]:
    """The fastest of some calls, in seconds of the processors, and what it gave. Other programs don't count.

    Raises Endless if a call takes more than `limit` seconds of the clock.
    """
    best, given = float("inf"), None
    for _ in range(TIMED):
        args, options = copy.deepcopy(call)
        start = time.process_time()
        with time_limit(limit) if limit else nullcontext():
            result = function(*args, **options)
        best = min(best, time.process_time() - start)
        given = result, args
    return best, given


def _alike(a: Any, b: Any) -> bool:
    """Whether two results have the same arrays, up to rounding in float32; layers and the like are left out."""
    if isinstance(b, tuple | list):
        return isinstance(a, tuple | list) and len(a) == len(b) and all(map(_alike, a, b))
    if not isinstance(b, np.ndarray | np.number) or not np.size(b):
        return True
    if np.shape(a) != np.shape(b):
        return False
    return np.allclose(a, b, rtol=CLOSE, atol=CLOSE * float(np.abs(b).max()), equal_nan=True)
