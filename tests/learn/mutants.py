"""Mutations of the real functions as wrong answers: how many does the check refuse?

    python -m tests.learn.mutants [NAME ...]

Every operator, constant, index, argument and statement of an exercise's function is changed, one at a time, and the
result is checked as a learner's answer. Prints those that pass. EQUIVALENT has those that may pass.
"""

from __future__ import annotations

import ast
import copy
import sys
from collections.abc import Callable, Iterator

from minidl.learn import EXERCISES
from minidl.learn.check import check_function
from minidl.learn.exercise import Exercise
from minidl.learn.source import real_source
from tests.mutation import shown, sites, variants

CHECK = "takes out a check of the arguments, which no exercise asks for"
OTHER_EXERCISE = "another exercise on the same function checks this part"
# exercise -> what changed statements contain that no check can tell, or needn't: why
EQUIVALENT: dict[str, dict[str, str]] = {
    "linear_forward": {"pass": CHECK},
    "sequential_backward": {"pass": CHECK},
    "residual_backward": {"pass": CHECK},
    "softmax_cross_entropy": {"smoothing": OTHER_EXERCISE, "pass": OTHER_EXERCISE},
    "max_pool_dx": {"overlap": OTHER_EXERCISE, "touched": OTHER_EXERCISE, "pass": OTHER_EXERCISE},
    "dropout_forward": {
        "self.p == 1": "with p = 0 the mask is 1 everywhere: the same numbers",
        "> self.p": "a random number is equal to p once in 2^24 draws",
    },
    "sgd": {"self._scratch(w, 2)": "another part of the working memory"},
    "one_cycle": {"fall = max(": "runs of one or two steps, of which the docstring says nothing"},
    "train_step": {"need_dx=True": "a gradient that nobody reads"},
    "relu_project": {"s >= 0": "0 times 0 is 0 as well"},
}


def equivalent(exercise: Exercise, after: str) -> bool:
    """Whether the changed statement gives the same results, or stands in the signature, which is given."""
    return after.startswith("def ") or any(part in after for part in EQUIVALENT.get(exercise.name, {}))


def mutants(exercise: Exercise) -> Iterator[tuple[str, Callable]]:
    """(the changed statement, the changed function) for every mutation of the exercise's function."""
    tree = ast.parse(real_source(exercise.reference))
    name = exercise.reference.__name__
    flags = __import__("__future__").annotations.compiler_flag
    for site in list(sites(tree, {name})):
        for new in list(variants(site.node)):
            site.replace(new)
            after = shown(new if site.node is site.statement else site.statement)
            mutant = ast.fix_missing_locations(copy.deepcopy(tree))
            site.replace(site.node)
            names = dict(vars(sys.modules[exercise.reference.__module__]))
            exec(compile(mutant, f"<mutant of {name}>", "exec", flags=flags, dont_inherit=True), names)
            yield after, names[name]


def surviving(exercise: Exercise) -> tuple[int, list[str]]:
    """How many mutants there are, and the changed statements of those that pass although they aren't equivalent."""
    count, passed = 0, []
    for after, function in mutants(exercise):
        count += 1
        if check_function(exercise, function).solved and not equivalent(exercise, after):
            passed.append(after)
    return count, passed


def main() -> int:
    total, bad = 0, 0
    for exercise in [EXERCISES[name] for name in sys.argv[1:]] or EXERCISES.values():
        count, passed = surviving(exercise)
        total, bad = total + count, bad + len(passed)
        print(
            f"{exercise.name}: {count} mutants, {len(passed)} pass", *(f"    {after}" for after in passed), sep="\n"
        )
    print(f"{total} mutants, {bad} pass")
    return bool(bad)


if __name__ == "__main__":
    raise SystemExit(main())
