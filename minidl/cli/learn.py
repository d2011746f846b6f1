"""The command `learn`: exercises in a folder, checked, with hints."""

from __future__ import annotations

import os
import shutil
import sys
import textwrap
import time
from argparse import Namespace
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from minidl.cli.parser import Command, Parser
from minidl.errors import UsageError
from minidl.text.calls import call, quoted
from minidl.text.console import print_lines
from minidl.text.plural import counted

if TYPE_CHECKING:
    from minidl.learn.exercise import Exercise
    from minidl.learn.folder import Folder

UNSOLVED = 1  # the exit code of a check that isn't all right
GREEN, RED, YELLOW = "green", "red", "yellow"
POLL = 0.3  # seconds between two looks at the files


def learn(args: Namespace) -> int:
    """Exercises that you solve by writing minidl's own functions; a check says which mistake you made."""
    return ACTIONS[args.action](args)


def _start(args: Namespace) -> int:
    from minidl.learn.folder import start

    if len(args.names) != 1:
        raise UsageError(f"give the folder to make: {call('learn')} start DIR")
    folder, new = start(_path(args.names[0]))
    first = folder.next()
    print_lines(f"{new} new exercises in {folder.path}" if new else f"{folder.path} has all exercises already")
    if first:
        print_lines(
            f"Begin with {folder.file(first)}: write its body, then", f"    {_command(folder, 'check', first)}"
        )
    return 0


def _check(args: Namespace) -> int:
    from minidl.learn.folder import NEW

    folder, chosen = _chosen(args)
    right = [_report(folder, exercise, brief=not args.names) for exercise in chosen]
    if not args.names:
        begun = sum(folder.state(e) != NEW for e in chosen)
        print_lines("", f"{sum(right)} of {len(chosen)} solved, {begun - sum(right)} not yet right")
    _say_next(folder)
    return 0 if all(right) else UNSOLVED


def _report(folder: Folder, exercise: Exercise, brief: bool = False) -> bool:
    """Checks one exercise and prints the verdict; `brief`: nothing if it isn't begun."""
    try:
        verdict = folder.check(exercise)
    except UsageError as error:
        print_lines(f"{exercise.name}: not yet", colour=RED)
        print_lines(*indented([str(error)]))
        return False
    if verdict.found == "not begun" and brief:
        return False
    colour = GREEN if verdict.solved else YELLOW if verdict.found == "not begun" else RED
    word = "right" if verdict.solved else "not begun" if verdict.found == "not begun" else "not yet"
    print_lines(f"{exercise.name}: {word}", colour=colour)
    if verdict.found != "not begun":
        print_lines(*indented(verdict.lines))
    if verdict.solved and not brief:
        print_lines(f"    compare it with minidl's own: {_command(folder, 'show', exercise)}")
    return verdict.solved


def indented(lines: Iterable[str]) -> list[str]:
    """The lines, four spaces in, broken at the width of the terminal."""
    width = max(40, min(shutil.get_terminal_size().columns, 100))
    found = []
    for line in lines:
        start = 4 + len(line) - len(line.lstrip())
        found += textwrap.wrap(
            line.lstrip(), width, initial_indent=" " * start, subsequent_indent=" " * start, break_on_hyphens=False
        ) or [""]
    return found


def _say_next(folder: Folder) -> None:
    following = folder.next()
    if following is None:
        print_lines("All exercises are solved.", colour=GREEN)
        print_lines(f"Train a network on them: {call('train')} --with {quoted(folder.path)}")
    else:
        print_lines(f"next: {folder.file(following)} (a hint: {_command(folder, 'hint', following)})")


def _watch(args: Namespace) -> int:
    """Checks a file at each save, until all exercises are solved or Ctrl-C."""
    folder, chosen = _chosen(args)
    print_lines(f"watching {counted(len(chosen), 'file')} in {folder.path}: save one to check it, Ctrl-C ends this")
    _say_next(folder)
    seen = {e.name: _stamp(folder, e) for e in chosen}
    while any(folder.state(e) != "solved" for e in chosen):
        sys.stdout.flush()
        time.sleep(POLL)
        for exercise in chosen:
            stamp = _stamp(folder, exercise)
            if stamp and stamp != seen[exercise.name]:
                seen[exercise.name] = stamp
                print_lines("")
                if _report(folder, exercise):
                    _say_next(folder)
    return 0


def _stamp(folder: Folder, exercise: Exercise) -> tuple[int, int] | None:
    try:
        status = folder.file(exercise).stat()
    except OSError:  # an editor that writes a new file in its place
        return None
    return status.st_mtime_ns, status.st_size


def _hint(args: Namespace) -> int:
    folder, chosen = _chosen(args, one=True)
    number, text = folder.hint(chosen[0])
    more = f" ({_command(folder, 'hint', chosen[0])} again for more)" if number < 3 else ""
    print_lines(f"{chosen[0].name}, hint {number} of 3{more}", colour=YELLOW)
    print_lines(*indented(text.split("; ") if number == 3 else [text]))  # the last one is code
    return 0


def _list(args: Namespace) -> int:
    from minidl.learn.folder import NEW, SOLVED

    folder, chosen = _chosen(args)
    states = {e.name: folder.state(e) for e in chosen}
    for chapter in dict.fromkeys(e.chapter for e in chosen):
        print_lines(f"docs/learn/{chapter}.py")
        for name in (e.name for e in chosen if e.chapter == chapter):
            known, state = folder.progress[name], states[name]
            hints = f"{known.hints} hint" + "s" * (known.hints > 1)
            aids = [hints] * bool(known.hints) + ["solution seen"] * known.shown
            mark = "x" if state == SOLVED else "." if state == NEW else "~"
            aided = f" ({', '.join(aids)})" if aids else ""
            colour = {SOLVED: GREEN, NEW: None}.get(state, RED)
            print_lines(f"  [{mark}] {name.ljust(24)}{state}{aided}", colour=colour)
    print_lines("", f"{sum(s == SOLVED for s in states.values())} of {len(states)} solved")
    return 0


def _show(args: Namespace) -> int:
    from minidl.learn.folder import SOLVED
    from minidl.learn.source import solution

    folder, chosen = _chosen(args, one=True)
    exercise = chosen[0]
    if folder.state(exercise) != SOLVED:
        _ask(args, f"{exercise.name} isn't solved. Show the solution?")
        folder.solution_shown(exercise)
    print_lines(*solution(exercise).splitlines())
    return 0


def _reset(args: Namespace) -> int:
    folder, chosen = _chosen(args, one=True)
    _ask(args, f"Write {folder.file(chosen[0])} anew?")
    kept = folder.reset(chosen[0])
    print_lines(f"wrote {folder.file(chosen[0])}" + (f"; yours is kept in {kept}" if kept else ""))
    return 0


def _notebook(args: Namespace) -> int:
    from minidl.learn.notebook import write_notebooks

    if len(args.names) != 1:
        raise UsageError(f"give the folder of the course: {call('learn')} notebook DIR")
    paths = write_notebooks(_path(args.names[0]))
    print_lines(f"wrote {len(paths)} notebooks for nbgrader below {_path(args.names[0]) / 'source'}")
    return 0


def _ask(args: Namespace, question: str) -> None:
    """Returns if the answer is yes, or with --yes; raises UsageError otherwise."""
    if args.yes:
        return
    if not sys.stdin or not sys.stdin.isatty():
        raise UsageError(f"{question} Add --yes")
    print_lines(f"{question} [y/N] ")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("nothing is done")


def _chosen(args: Namespace, one: bool = False) -> tuple[Folder, list[Exercise]]:
    """The folder, and the exercises that are named; all of them if none is."""
    from minidl.learn import exercise_named
    from minidl.learn.exercises import EXERCISES
    from minidl.learn.folder import Folder

    files = [_path(name) for name in args.names]  # check mine/relu.py is check relu --folder mine
    if one and len(files) != 1:
        raise UsageError(f"name one exercise: {call('learn')} {args.action} NAME")
    for file in files:
        if file.is_dir() and file.name not in EXERCISES:
            raise UsageError(f"{file} is a folder: {call('learn')} {args.action} --folder {quoted(file)}")
    chosen = [exercise_named(file.name.removesuffix(".py")) for file in files] or list(EXERCISES.values())
    folders = {file.parent for file in files if args.folder is None} or {_path(args.folder or ".")}
    if len(folders) > 1:
        raise UsageError(f"name exercises of one folder, not of {' and '.join(sorted(map(str, folders)))}")
    return Folder(folders.pop()), list(dict.fromkeys(chosen))


def _path(text: str) -> Path:
    return Path(os.path.expanduser(text))


def _command(folder: Folder, action: str, exercise: Exercise) -> str:
    """What to type for an exercise of this folder."""
    return f"{call('learn')} {action} {exercise.name if folder.path == Path() else quoted(folder.file(exercise))}"


ACTIONS: dict[str, Callable[[Namespace], int]] = {
    "start": _start,
    "check": _check,
    "watch": _watch,
    "hint": _hint,
    "list": _list,
    "show": _show,
    "reset": _reset,
    "notebook": _notebook,
}


def _add_flags(parser: Parser) -> None:
    actions = (
        "start DIR makes a folder of exercises; check [NAME ...] checks them; watch checks a file at each "
        "save; hint NAME; list shows your progress; show NAME the solution; reset NAME begins anew; "
        "notebook DIR writes them as notebooks for nbgrader, with solutions"
    )
    parser.add_argument("action", choices=list(ACTIONS), metavar="ACTION", help=actions)
    # argparse takes a `*` without a default for a word that must be given, and says so
    parser.add_argument("names", nargs="*", default=[], metavar="NAME", help="exercises, or the folder to start")
    parser.add_argument("--folder", metavar="DIR", help="the folder of exercises (default: this one)")
    parser.add_argument("--yes", action="store_true", help="show and reset without asking")


LEARN = Command(learn, _add_flags)
