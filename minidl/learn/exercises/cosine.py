"""The cosine schedule of the learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, Outcome, Returned, described


def _cases(rng: np.random.Generator) -> list[Case]:
    cases = []
    for lr, total, final in (
        (2.0, 2, 0.0),
        (1.0, 4, 0.0),
        (8.0, 4, 2.0),
        (1.0, 3, 0.0),
        (4.0, 3, 4.0),
        (0.1, 10, 0.0),
        (0.1, 7, 0.01),
        (1e-3, 25, 1e-5),
        (float(rng.uniform(1, 2)), 12, float(rng.uniform(0.1, 0.5))),
    ):
        about = {"T": total, "final_lr": "zero" if final == 0 else "not zero"}
        cases.append(Case({"lr": lr, "total_steps": total, "final_lr": final}, about))
    return cases


def rates(function: Callable, arguments: Arguments) -> Outcome:
    """The schedule's rate at every step of the run, and at three later ones."""
    schedule = function(**arguments)
    if not callable(schedule):
        raise Returned(f"Return a function of the step: yours returns {described(schedule)}")
    found = [schedule(step) for step in range(arguments["total_steps"] + 3)]
    if (again := described(schedule(0))) != described(found[0]):
        raise Returned(
            f"The rate must depend on the step alone, so that a run can be resumed: asked again, your rate of step 0 "
            f"is {again}, and was {described(found[0])}"
        )
    return {"rate": np.array(found)}


def _on_paper(arguments: Arguments, name: str, index: tuple[int, ...]) -> str:
    lr, total, final = arguments.values()
    step = index[0]
    if step >= total:
        return f"step {step} is not below {total}, so the rate is final_lr = {final:g}"
    value = final + (lr - final) * (1 + math.cos(math.pi * step / total)) / 2
    return f"{final:g} + {lr - final:g} (1 + cos(pi {step}/{total})) / 2 = {value:.6g}"


EXERCISE = Exercise(
    name="cosine",
    chapter="09_training",
    target="minidl.schedules:cosine",
    task="Return a function of the step, which gives the learning rate: half a cosine from lr down to final_lr. "
    "After the last step the rate stays at final_lr.",
    cases=_cases,
    call=rates,
    worked=_on_paper,
    any_dtype=False,
    any_layout=False,
    mistakes=(
        Mistake(
            "up again",
            "Right up to step T; after that your rate rises again, because the cosine does. Hold the share s / T at "
            "1: min(s / T, 1).",
            wrong=lambda lr, total_steps, final_lr=0.0: (
                lambda step: final_lr + (lr - final_lr) * (1 + math.cos(math.pi * step / total_steps)) / 2
            ),
        ),
        Mistake(
            "final at the last step",
            "Your rate reaches final_lr at step T - 1: you divide by T - 1. Here the formula has s / T, so the last "
            "step still moves the weights when final_lr is 0.",
            wrong=lambda lr, total_steps, final_lr=0.0: (
                lambda step: (
                    final_lr + (lr - final_lr) * (1 + math.cos(math.pi * min(step / (total_steps - 1), 1.0))) / 2
                )
            ),
        ),
        Mistake(
            "one step early",
            "Your rates are those of the next step: steps count from 0, and step 0 has the rate lr.",
            (("step / total_steps", "(step + 1) / total_steps"),),
        ),
        Mistake(
            "final added",
            "Your rate starts at lr + final_lr. The cosine covers only the way from lr to final_lr: it is multiplied "
            "by lr - final_lr, not by lr.",
            wrong=lambda lr, total_steps, final_lr=0.0: (
                lambda step: final_lr + lr * (1 + math.cos(math.pi * min(step / total_steps, 1.0))) / 2
            ),
        ),
        Mistake(
            "final ignored",
            "Right where final_lr is 0: your rate always falls to 0. It must end at final_lr.",
            (("_anneal(lr, final_lr", "_anneal(lr, 0.0"),),
        ),
        Mistake(
            "a floor",
            "You cut the rate off at final_lr. It must reach final_lr smoothly, at step T: the cosine is multiplied "
            "by lr - final_lr, and final_lr is added.",
            wrong=lambda lr, total_steps, final_lr=0.0: (
                lambda step: max(lr * (1 + math.cos(math.pi * min(step / total_steps, 1.0))) / 2, final_lr)
            ),
        ),
        Mistake(
            "not halved",
            "The 2 is missing: 1 + cos(pi s / T) goes from 2 to 0. Divide it by 2.",
            wrong=lambda lr, total_steps, final_lr=0.0: (
                lambda step: final_lr + (lr - final_lr) * (1 + math.cos(math.pi * min(step / total_steps, 1.0)))
            ),
        ),
        Mistake(
            "pi missing",
            "pi is missing: half a cosine is cos(pi s / T), because its angle goes from 0 to pi.",
            wrong=lambda lr, total_steps, final_lr=0.0: (
                lambda step: final_lr + (lr - final_lr) * (1 + math.cos(min(step / total_steps, 1.0))) / 2
            ),
        ),
        Mistake(
            "linear",
            "Your rate falls along a straight line. Half a cosine falls slowly at first, fast in the middle and "
            "slowly at the end: (1 + cos(pi s / T)) / 2.",
            wrong=lambda lr, total_steps, final_lr=0.0: (
                lambda step: lr + (final_lr - lr) * min(step / total_steps, 1.0)
            ),
        ),
        Mistake(
            "a whole cosine",
            "Your rate comes back to lr at step T: that is a whole period. Half a cosine ends at pi: cos(pi s / T).",
            (("step / total_steps)", "min(2 * step / total_steps, 2 - min(2 * step / total_steps, 2)))"),),
        ),
        Mistake(
            "quarter",
            "You took cos(pi s / (2 T)), a quarter of a period. Half a cosine goes from 1 to -1; with 1 added and "
            "divided by 2 it goes from 1 to 0: (1 + cos(pi s / T)) / 2.",
            wrong=lambda lr, total_steps, final_lr=0.0: (
                lambda step: final_lr + (lr - final_lr) * math.cos(math.pi / 2 * min(step / total_steps, 1.0))
            ),
        ),
        Mistake(
            "upwards",
            "Your rate rises from final_lr to lr. It must start at lr and fall: cos(0) = 1, so (1 + cos(pi s / T)) / "
            "2 is 1 at step 0.",
            (("_anneal(lr, final_lr", "_anneal(final_lr, lr"),),
        ),
    ),
    hints=(
        "`cosine` doesn't compute a rate. It returns a function that does. Write a `def` inside, or a `lambda`.",
        "cos(pi t) goes from 1 to -1 while t goes from 0 to 1. What must be added, and by what must it be divided, "
        "so that it goes from 1 to 0? Which distance does the rate cover?",
        "def schedule(step): t = min(step / total_steps, 1.0); return final_lr + (lr - final_lr) * (1 + "
        "np.cos(np.pi * t)) / 2. At the end: return schedule.",
    ),
)
