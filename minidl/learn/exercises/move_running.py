"""The running statistics, which stand for the batch's when the network is used."""

from __future__ import annotations

import numpy as np

from minidl.learn.exercise import Arguments, Case, Exercise, Mistake, changes
from minidl.learn.exercises.paper import number

_MEAN = "running_mean += (momentum * (mean - running_mean))"
_VAR = "running_var += (momentum * (var * unbias - running_var))"


def _cases(rng: np.random.Generator) -> list[Case]:
    def case(mean, var, running_mean, running_var, momentum, m) -> Case:
        arrays = {"mean": mean, "var": var, "running_mean": running_mean, "running_var": running_var}
        arrays = {name: np.array(a, float) for name, a in arrays.items()}
        return Case(
            {**arrays, "momentum": momentum, "unbias": m / (m - 1)},
            {"C": len(mean), "M": m, "momentum": "1" if momentum == 1 else "small"},
        )

    def random(channels: int, momentum: float, m: int) -> Case:
        means, variances = rng.normal(size=(2, channels)), rng.uniform(0.5, 3, (2, channels))
        return case(means[0], variances[0], means[1], variances[1], momentum, m)

    return [
        case([10], [6], [20], [2], 0.25, 3),
        case([0], [1], [8], [4], 0.5, 2),
        case([1, 2, 3], [4, 5, 6], [0, 0, 0], [1, 1, 1], 0.1, 5),
        random(1, 0.1, 100),
        random(2, 0.01, 7),
        random(3, 1, 4),
        random(4, 0.9, 2),
        random(5, 0.3, 12),
    ]


def _worked(arguments: Arguments, name: str, index: tuple[int, ...]) -> str:
    batch, momentum, unbias = arguments[name.removeprefix("running_")][index], arguments["momentum"], 1.0
    old = arguments[name][index]
    text = number(batch)
    if name == "running_var":
        unbias = arguments["unbias"]
        text += f"*{number(unbias)}"
    return f"{number(old)} + {momentum:g} ({text} - {number(old)}) = {old + momentum * (batch * unbias - old):.6g}"


def _not_in_place(mean, var, running_mean, running_var, momentum, unbias):
    return None


EXERCISE = Exercise(
    name="move_running",
    chapter="06_batch_norm",
    target="minidl.kernels.reference:move_running",
    task="Move the running mean and the running variance a little towards those of the batch. Change the two arrays "
    "in place: the layer holds them. momentum is the share of the new batch, such as 0.1. On average the variance of "
    "a batch is a little too small. So it is multiplied by unbias = M / (M - 1) first.",
    cases=_cases,
    call=changes("running_mean", "running_var"),
    changes=("running_mean", "running_var"),
    worked=_worked,
    mistakes=(
        Mistake(
            "not in place",
            "Nothing has changed. `running_mean = ...` makes a new array, which is gone when the function ends. "
            "Change the array that the layer holds: `running_mean += ...` or `running_mean[...] = ...`.",
            wrong=_not_in_place,
        ),
        Mistake(
            "momentum the other way round",
            "momentum and 1 - momentum are exchanged. Here momentum is the share of the new batch (as in torch), not "
            "the share that the old value keeps (as in Keras).",
            (
                (_MEAN, _MEAN.replace("momentum *", "(1 - momentum) *")),
                (_VAR, _VAR.replace("momentum *", "(1 - momentum) *")),
            ),
        ),
        Mistake(
            "unbias missing",
            "The running variance moves towards the biased variance: multiply var by unbias = M / (M - 1) first.",
            (("var * unbias", "var"),),
        ),
        Mistake(
            "unbias at the mean too",
            "The mean needs no unbias: the mean of a sample isn't biased. Only the variance is multiplied.",
            (("(mean - running_mean)", "(mean * unbias - running_mean)"),),
        ),
        Mistake(
            "unbias on the whole difference",
            "You multiplied the old running variance by unbias as well. It belongs to the variance of this batch "
            "only: momentum (var unbias - running_var).",
            (("(var * unbias - running_var)", "(var - running_var) * unbias"),),
        ),
        Mistake(
            "unbias inverted",
            "You divided by unbias. It is M / (M - 1), larger than 1, and makes the variance larger: multiply.",
            (("var * unbias", "var / unbias"),),
        ),
        Mistake(
            "unbias on the new value",
            "You multiplied the whole new running variance by unbias. Then it is multiplied again at every step, and "
            "grows. Only the variance of this batch gets the factor.",
            wrong=lambda mean, var, running_mean, running_var, momentum, unbias: (
                running_mean.__iadd__(momentum * (mean - running_mean)),
                running_var.__iadd__((running_var + momentum * (var - running_var)) * unbias - running_var),
            ),
        ),
        Mistake(
            "overwritten",
            "The running statistics are those of the last batch alone. They are a moving average: go only the share "
            "momentum of the way.",
            ((_MEAN, "running_mean += (mean - running_mean)"), (_VAR, "running_var += (var * unbias - running_var)")),
        ),
        Mistake(
            "away from the batch",
            "The running statistics move away from those of the batch: the difference is batch - running.",
            ((_MEAN, _MEAN.replace("+=", "-=")), (_VAR, _VAR.replace("+=", "-="))),
        ),
        Mistake(
            "mean and variance exchanged",
            "Mean and variance are exchanged: the running mean moves towards the batch's variance.",
            (
                ("(mean - running_mean)", "(var * unbias - running_mean)"),
                ("(var * unbias - running_var)", "(mean - running_var)"),
            ),
        ),
        Mistake(
            "old value not reduced",
            "You added the batch's share without taking the same share from the old value, so the sums grow for "
            "ever: (1 - momentum) running + momentum batch.",
            ((_MEAN, "running_mean += (momentum * mean)"), (_VAR, "running_var += (momentum * var * unbias)")),
        ),
        Mistake(
            "standard deviation",
            "The running variance moves towards the standard deviation. Leave out the root.",
            (("(var * unbias - running_var)", "(var * unbias) ** 0.5 - running_var"),),
        ),
    ),
    hints=(
        "What is the running mean after the step if momentum is 0? What is it if momentum is 1? Which formula "
        "gives both?",
        "running + momentum (batch - running) is the same as (1 - momentum) running + momentum batch. The batch's "
        "variance is var * unbias. The result must get into the array that you were given.",
        "running_mean += momentum * (mean - running_mean), and the same for running_var with var * unbias in place "
        "of mean.",
    ),
)
