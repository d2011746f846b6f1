"""The one-cycle schedule of the learning rate: up, then down."""

from __future__ import annotations

import math

import numpy as np

from minidl.learn.exercise import Arguments, Case, Exercise, Mistake
from minidl.learn.exercises.cosine import rates


def _cases(rng: np.random.Generator) -> list[Case]:
    cases = []
    for lr, total, rise, div, final_div in (
        (8.0, 6, 0.5, 4.0, 8.0),  # the peak at step 2, the last step is 5
        (8.0, 10, 0.3, 4.0, 8.0),
        (8.0, 6, 0.0, 4.0, 8.0),
        (8.0, 9, 0.3, 4.0, 8.0),  # the peak at 1.7
        (8.0, 6, 0.5, 1.0, 8.0),
        (8.0, 6, 0.5, 4.0, 2.0),
        (0.1, 20, 0.25, 25.0, 1e4),
        (0.1, 5, 0.1, 25.0, 100.0),  # rise T is below 1
        (float(rng.uniform(1, 2)), 17, 0.4, 10.0, 50.0),
    ):
        peak = max(rise * total - 1, 0)
        about = {
            "T": total,
            "rise": f"{rise:g}",
            "the peak": "at step 0" if peak == 0 else "at a whole step" if peak % 1 == 0 else "between two steps",
            "div": f"{div:g}",
            "final_div": f"{final_div:g}",
        }
        arguments = {"lr": lr, "total_steps": total, "rise": rise, "div": div, "final_div": final_div}
        cases.append(Case(arguments, about))
    return cases


def _on_paper(arguments: Arguments, name: str, index: tuple[int, ...]) -> str:
    lr, total, rise, div, final_div = arguments.values()
    step, peak = index[0], max(rise * total - 1, 0)
    if step >= total:
        return f"step {step} is not below {total}, so the rate is lr / final_div = {lr / final_div:.6g}"
    if step < peak:
        start, end, t, share = lr / div, lr, step / peak, f"{step}/{peak:g}"
    else:
        start, end, t = lr, lr / final_div, (step - peak) / (total - 1 - peak)
        share = f"({step} - {peak:g})/({total - 1} - {peak:g})"
    value = start + (end - start) * (1 - math.cos(math.pi * t)) / 2
    return f"p = {peak:g}; {start:.4g} + ({end:.4g} - {start:.4g}) (1 - cos(pi {share})) / 2 = {value:.6g}"


def _half_cosine(start: float, end: float, t: float) -> float:
    return start + (end - start) * (1 - math.cos(math.pi * min(t, 1.0))) / 2


def _linear(lr, total_steps, rise=0.3, div=25.0, final_div=1e4):
    peak = max(rise * total_steps - 1, 0)
    return lambda step: (
        float(np.interp(step, [0, peak, total_steps - 1], [lr / div, lr, lr / final_div]))
        if peak
        else float(np.interp(step, [0, total_steps - 1], [lr, lr / final_div]))
    )


def _whole_peak(lr, total_steps, rise=0.3, div=25.0, final_div=1e4):
    peak = max(int(rise * total_steps) - 1, 0)
    return lambda step: (
        _half_cosine(lr / div, lr, step / peak)
        if step < peak
        else _half_cosine(lr, lr / final_div, (step - peak) / (total_steps - 1 - peak))
    )


def _late_whole_peak(lr, total_steps, rise=0.3, div=25.0, final_div=1e4):
    peak = int(rise * total_steps)
    return lambda step: (
        _half_cosine(lr / div, lr, step / peak)
        if step < peak
        else _half_cosine(lr, lr / final_div, (step - peak) / (total_steps - 1 - peak))
    )


def _linear_rise(lr, total_steps, rise=0.3, div=25.0, final_div=1e4):
    peak = max(rise * total_steps - 1, 0)
    return lambda step: (
        lr / div + (lr - lr / div) * step / peak
        if step < peak
        else _half_cosine(lr, lr / final_div, (step - peak) / (total_steps - 1 - peak))
    )


def _not_held(lr, total_steps, rise=0.3, div=25.0, final_div=1e4):
    peak = max(rise * total_steps - 1, 0)

    def schedule(step):
        if step < peak:
            return _half_cosine(lr / div, lr, step / peak)
        angle = math.pi * (step - peak) / (total_steps - 1 - peak)
        return lr + (lr / final_div - lr) * (1 - math.cos(angle)) / 2

    return schedule


EXERCISE = Exercise(
    name="one_cycle",
    chapter="09_training",
    target="minidl.schedules:one_cycle",
    task="Return a function of the step, which gives the learning rate: half a cosine up from lr / div to lr, then "
    "half a cosine down to lr / final_div. After the last step, T - 1 with T = total_steps, the rate stays where "
    "it is.",
    cases=_cases,
    call=rates,
    worked=_on_paper,
    any_dtype=False,
    any_layout=False,
    mistakes=(
        Mistake(
            "peak one step late",
            "Your peak is at step rise T. Steps count from 0, so the last of the rise T steps is step rise T - 1: "
            "there the rate is lr.",
            (("rise * total_steps - 1, 0", "rise * total_steps, 0"),),
        ),
        Mistake(
            "ends one step late",
            "Your rate reaches lr / final_div at step T. The last step is T - 1, because steps count from 0.",
            (("total_steps - 1 - peak_step, 1", "total_steps - peak_step, 1"),),
        ),
        Mistake(
            "torch's last rate",
            "You divided the first rate by final_div, as torch does. Here the last rate is lr / final_div: lr is the "
            "highest rate.",
            (("_anneal(lr, lr / final_div", "_anneal(lr, lr / div / final_div"),),
        ),
        Mistake(
            "down to the start",
            "Your rate falls back to lr / div. It falls further than it rose: to lr / final_div.",
            (("_anneal(lr, lr / final_div", "_anneal(lr, lr / div"),),
        ),
        Mistake(
            "starts at zero",
            "Your rate starts at 0. It starts at lr / div, so that the first step moves the weights too.",
            (("_anneal(lr / div, lr", "_anneal(0.0, lr"),),
        ),
        Mistake(
            "linear",
            "You go up and down along straight lines. Here both follow half a cosine: (1 - cos(pi t)) / 2 in place "
            "of t.",
            wrong=_linear,
        ),
        Mistake(
            "fall from the start",
            "The way down starts in the middle: its share must be 0 at the peak, (s - p) / (T - 1 - p). Yours is the "
            "share of the whole run.",
            (("(step - peak_step) / fall", "step / max(total_steps - 1, 1)"),),
        ),
        Mistake(
            "up again",
            "Right up to the last step; after that your rate rises again, because the cosine does. Hold the share at "
            "1: min(t, 1).",
            wrong=_not_held,
        ),
        Mistake(
            "peak at a whole step",
            "You rounded rise T down to a whole number. The peak may lie between two steps: use p = rise T - 1 as it "
            "is.",
            wrong=_whole_peak,
        ),
        Mistake(
            "peak at a whole step, one late",
            "Your peak is at int(rise T). Steps count from 0, and the peak may lie between two steps: p = rise T - "
            "1.",
            wrong=_late_whole_peak,
        ),
        Mistake(
            "linear rise",
            "The way down is right, but you go up along a straight line. Both follow half a cosine.",
            wrong=_linear_rise,
        ),
        Mistake(
            "peak before the run",
            "Where rise T is below 1, your peak is before step 0. There the run begins at the peak: p = max(rise T - "
            "1, 0).",
            (("max(rise * total_steps - 1, 0)", "rise * total_steps - 1"),),
        ),
    ),
    hints=(
        "Write half a cosine from `start` to `end` as a small function of a share t from 0 to 1, and use it twice.",
        "The peak is at p = max(rise T - 1, 0). Before it t = s / p; from it on t = (s - p) / (T - 1 - p), at most "
        "1. Mind p = 0: then there is no way up.",
        "def schedule(step): if step < peak: return half(lr / div, lr, step / peak); return half(lr, lr / final_div, "
        "min((step - peak) / (total_steps - 1 - peak), 1)), with half(a, b, t) = a + (b - a) (1 - cos(pi t)) / 2.",
    ),
)
