"""Mutations of the real functions as wrong answers: how many does the check refuse?

    python -m tests.learn.mutants [NAME ...]

Every operator, constant, index, argument and statement of an exercise's function is changed, one at a time, and the
result is checked as a learner's answer. Prints those that pass. EQUIVALENT has the ones that give the same results.
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

# (exercise, statement after the change): why its results are the same
EQUIVALENT: dict[tuple[str, str], str] = {}


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
        if (exercise.name, after) not in EQUIVALENT and check_function(exercise, function).solved:
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
