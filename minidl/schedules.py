"""Learning-rate schedules: functions of the step alone, so that a resumed run has the rates it would have had.

Below, s is the step, counted from 0, and T the number of steps. After the last step a schedule stays at its final
value.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable

from minidl.errors import UsageError

__all__ = ["SCHEDULES", "Schedule", "constant", "cosine", "make_schedule", "one_cycle", "step_drops", "warm_up"]

Schedule = Callable[[int], float]


def constant(lr: float) -> Schedule:
    """Always lr."""
    return lambda step: lr


def step_drops(lr: float, drop_steps: Iterable[int], factor: float = 0.1) -> Schedule:
    """lr * factor^d, where d is the number of `drop_steps` at or before s."""
    drop_steps = tuple(drop_steps)  # an iterator could be read once only
    return lambda step: lr * factor ** sum(step >= drop for drop in drop_steps)


def cosine(lr: float, total_steps: int, final_lr: float = 0.0) -> Schedule:
    """Half a cosine from lr down to final_lr (Loshchilov & Hutter 2017, eq. 5).

    final_lr + (lr - final_lr) (1 + cos(pi s / T)) / 2,  which is final_lr at s = T, one step after the last; later
    it stays final_lr.
    """
    return lambda step: _anneal(lr, final_lr, step / total_steps)


def one_cycle(lr: float, total_steps: int, rise: float = 0.3, div: float = 25.0, final_div: float = 1e4) -> Schedule:
    """From lr / div up to lr during the share `rise` of the steps, then down to lr / final_div at the last step.

    The peak is at step p = max(rise T - 1, 0), which may lie between two steps. Up and down follow half a cosine:
    with h(t) = (1 - cos(pi t)) / 2, which goes from 0 to 1,

        s < p:         lr / div + (lr - lr / div) h(s / p)
        p <= s < T:    lr + (lr / final_div - lr) h((s - p) / (T - 1 - p))
        later:         lr / final_div

    Source: Smith & Topin 2018, in the form of torch.optim.lr_scheduler.OneCycleLR. Torch divides the first rate to
    get the last one: its final_div_factor is final_div / div here.
    """
    peak_step = max(rise * total_steps - 1, 0)
    fall = max(total_steps - 1 - peak_step, 1)

    def schedule(step: int) -> float:
        if step < peak_step:
            return _anneal(lr / div, lr, step / peak_step)
        return _anneal(lr, lr / final_div, (step - peak_step) / fall)

    return schedule


def warm_up(schedule: Schedule, warmup_steps: int) -> Schedule:
    """W = `warmup_steps` steps in which the rate rises linearly to schedule(0), then `schedule` itself.

    schedule(0) (s + 1) / W for s < W, then schedule(s - W) (Goyal et al. 2017, section 2.2).
    """

    def warmed(step: int) -> float:
        if step < warmup_steps:
            return schedule(0) * ((step + 1) / warmup_steps)
        return schedule(step - warmup_steps)

    return warmed


def make_schedule(
    name: str,
    lr: float,
    total_steps: int,
    *,
    warmup_steps: int = 0,
    drop_steps: Iterable[int] = (),
    factor: float = 0.1,
    final_lr: float = 0.0,
    rise: float = 0.3,
    div: float = 25.0,
    final_div: float = 1e4,
) -> Schedule:
    """The schedule called "constant", "step", "cosine" or "one-cycle" for a run of `total_steps` steps.

    Warm-up steps are part of `total_steps`, and `drop_steps` count from the start of the run. Each schedule uses its
    own options only: "step" drop_steps and factor, "cosine" final_lr, "one-cycle" rise, div and final_div.
    Raises UsageError naming the option if one of them makes no sense.
    """
    drop_steps = tuple(drop_steps)
    for option, value, fits in (
        ("lr", lr, isinstance(lr, numbers.Real) and lr >= 0 and math.isfinite(lr)),
        ("total_steps", total_steps, total_steps >= 1),
        ("warmup_steps", warmup_steps, 0 <= warmup_steps < max(total_steps, 1)),
        ("drop_steps", drop_steps, name != "step" or all(drop > warmup_steps for drop in drop_steps)),
        ("factor", factor, name != "step" or factor > 0),
        ("final_lr", final_lr, name != "cosine" or final_lr >= 0),
        ("rise", rise, name != "one-cycle" or 0 <= rise <= 1),
        ("div", div, name != "one-cycle" or div > 0),
        ("final_div", final_div, name != "one-cycle" or final_div > 0),
    ):
        if not fits:
            raise UsageError(f"learning-rate schedule {name}: {option} can't be {value}")
    left = total_steps - warmup_steps
    if name == "constant":
        schedule = constant(lr)
    elif name == "step":
        schedule = step_drops(lr, [drop - warmup_steps for drop in drop_steps], factor)
    elif name == "cosine":
        schedule = cosine(lr, left, final_lr)
    elif name == "one-cycle":
        schedule = one_cycle(lr, left, rise, div, final_div)
    else:
        raise UsageError(f"unknown learning-rate schedule {name!r}: choose {', '.join(SCHEDULES)}")
    return warm_up(schedule, warmup_steps) if warmup_steps else schedule


SCHEDULES = ("constant", "step", "cosine", "one-cycle")


def _anneal(start: float, end: float, t: float) -> float:
    """Half a cosine from `start` at t = 0 to `end` at t = 1; `end` after that."""
    return end + (start - end) * (1 + math.cos(math.pi * min(t, 1.0))) / 2
