"""The real source: shown where it stands, blanked for an exercise, or changed into a typical mistake."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from minidl.learn.exercise import Exercise, Mistake, resolve
from minidl.text.console import print_lines

PACKAGE = Path(__file__).parents[1]


def show(*things: Any) -> None:
    """Prints where functions, methods or classes of minidl stand, and their source as it is now."""
    for thing in things:
        print_lines(f"# {place(thing)}", *inspect.getsource(thing).rstrip().splitlines(), "")


def place(thing: Any) -> str:
    """Such as "minidl/kernels/reference.py, line 67"."""
    path, (_, line) = Path(inspect.getfile(thing)), inspect.getsourcelines(thing)
    inside = path.relative_to(PACKAGE.parent) if path.is_relative_to(PACKAGE.parent) else path
    return f"{inside.as_posix()}, line {line}"


@lru_cache(256)
def real_source(function: Callable) -> str:
    """The source of a function or method, without the indentation of its class."""
    return textwrap.dedent(inspect.getsource(function))


def solution(exercise: Exercise) -> str:
    """The real source of the function, and of the functions that belong to it, each with its place."""
    functions = [exercise.reference, *(resolve(target) for target in exercise.related)]
    return "\n".join(f"# {place(f)}\n{real_source(f)}" for f in functions)


def blanked(exercise: Exercise) -> str:
    """The file that a learner fills in: the task, the imports, the signature and the docstring of the function."""
    return "\n".join(
        [*_head(exercise), *opening(exercise), f'    raise NotImplementedError("write {exercise.name}")', ""]
    )


def filled(exercise: Exercise) -> str:
    """The same file with the real body in it."""
    return "\n".join([*_head(exercise), *opening(exercise), *body(exercise), ""])


def opening(exercise: Exercise) -> list[str]:
    """The lines of the function up to the end of its docstring, with the exercise's name."""
    source = real_source(exercise.reference)
    node = ast.parse(source).body[0]
    lines = source.splitlines()[node.lineno - 1 : node.body[0].lineno - 1]
    lines[0] = lines[0].replace(f"def {node.name}(", f"def {exercise.name}(", 1)
    return [*lines, *_docstring(exercise).splitlines()]


def body(exercise: Exercise) -> list[str]:
    """The lines of the real function after its docstring; before them, imports of the private names in it."""
    source = real_source(exercise.reference)
    node = ast.parse(source).body[0]
    first = node.body[1] if ast.get_docstring(node) else node.body[0]
    private = sorted(name for name in _global_names(exercise.reference) if name.startswith("_"))
    imports = [f"    from {exercise.reference.__module__} import {name}" for name in private]
    return imports + source.splitlines()[first.lineno - 1 :]


def imports(exercise: Exercise) -> list[str]:
    """Import lines for the names of its module that the function uses; private ones are left to the learner."""
    module, function = sys.modules[exercise.reference.__module__], exercise.reference
    plain, origins = {"import numpy as np"}, {}
    bound = _bound(module)
    for name in _global_names(function):
        if bound.get(name, "").startswith("import "):
            plain.add(bound[name])
        elif not name.startswith("_") and name != function.__name__:
            origins.setdefault(bound.get(name, module.__name__), set()).add(name)
    lines = [f"from {origin} import {', '.join(sorted(names, key=str.lower))}" for origin, names in origins.items()]
    return sorted(plain) + ([""] if lines else []) + sorted(lines)


def given(exercise: Exercise) -> list[str]:
    """A comment for every function of minidl among the imports: how it is called, and what it does."""
    module = sys.modules[exercise.reference.__module__]
    names = sorted(name for name in _global_names(exercise.reference) if not name.startswith("_"))
    found = []
    for name in names:
        function = inspect.unwrap(vars(module)[name]) if callable(vars(module)[name]) else None
        if not inspect.isfunction(function) or function is exercise.reference:
            continue
        parameters = inspect.signature(function).parameters.values()
        called = ", ".join(str(p.replace(annotation=p.empty)) for p in parameters)
        does = inspect.getdoc(function).partition("\n\n")[0].replace("\n", " ")
        found += textwrap.wrap(f"{name}({called}): {does}", 114, initial_indent="# ", subsequent_indent="#     ")
    return found


def _head(exercise: Exercise) -> list[str]:
    inside = Path(exercise.reference.__code__.co_filename).relative_to(PACKAGE.parent).as_posix()
    return [
        f'"""Exercise {exercise.name} of chapter docs/learn/{exercise.chapter}.py.',
        *("", *textwrap.wrap(exercise.task, 100), ""),
        f"The function stands in {inside}. Write its body here, then: minidl learn check {exercise.name}",
        *('"""', "", "from __future__ import annotations", ""),
        *imports(exercise),
        *([""] + comments if (comments := given(exercise)) else []),
        *("", ""),
    ]


@lru_cache(1024)
def changed(exercise: Exercise, mistake: Mistake) -> Callable:
    """The wrong function of a typical mistake. Raises ValueError unless each edited text stands there once."""
    if mistake.wrong is not None:
        return mistake.wrong
    source = real_source(exercise.reference)
    for before, after in mistake.edits:
        if source.count(before) != 1:
            raise ValueError(f"{exercise.name}, {mistake.name}: {before!r} stands {source.count(before)} times")
        source = source.replace(before, after)
    names = dict(vars(sys.modules[exercise.reference.__module__]))
    exec(compile(source, f"<{exercise.name}: {mistake.name}>", "exec", dont_inherit=True, flags=_ANNOTATIONS), names)
    return names[exercise.reference.__name__]


_ANNOTATIONS = __import__("__future__").annotations.compiler_flag  # as in the modules themselves


def _docstring(exercise: Exercise) -> str:
    """The function's docstring, or that of its class if it has none."""
    text = inspect.getdoc(exercise.reference) if exercise.reference.__doc__ else None
    if text is None:
        module, _, path = exercise.target.partition(":")
        text = inspect.getdoc(resolve(f"{module}:{path.partition('.')[0]}"))
    return textwrap.indent(f'"""{text}\n"""' if "\n" in text else f'"""{text}"""', "    ", lambda line: line.strip())


def _global_names(function: Callable) -> set[str]:
    """The names of its module that a function uses."""
    names = {n.id for n in ast.walk(ast.parse(real_source(function))) if isinstance(n, ast.Name)}
    return names & set(vars(sys.modules[function.__module__]))


def _bound(module: ModuleType) -> dict[str, str]:
    """What the imports of a module bind: name -> the module that it is from, or a whole import line."""
    bound = {}
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.Import):
            for a in node.names:
                bound[a.asname or a.name] = f"import {a.name} as {a.asname}" if a.asname else f"import {a.name}"
        elif isinstance(node, ast.ImportFrom):
            bound |= {a.asname or a.name: node.module for a in node.names}
    return bound
