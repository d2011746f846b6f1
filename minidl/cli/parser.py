"""A program is a table of commands. A command is a function and its flags."""

from __future__ import annotations

import argparse
import difflib
import shutil
import sys
import textwrap
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, NoReturn

from minidl.cli.boundary import run_guarded
from minidl.cli.ranks import mute_others, run_on_ranks
from minidl.errors import UsageError
from minidl.text.calls import call, called_as
from minidl.text.console import print_lines
from minidl.version import __version__


class Parser(argparse.ArgumentParser):
    """Answers a wrong flag with one line instead of the whole usage."""

    def error(self, message: str) -> NoReturn:
        unknown = [word for word in message.split() if word.startswith("-")] if "unrecognized" in message else []
        for flag in unknown[:1]:
            if near := difflib.get_close_matches(flag.partition("=")[0], self._option_string_actions, 1):
                message += f": did you mean {near[0]}?"
        raise UsageError(f"{message} (see {self.prog} --help)")


class Command(NamedTuple):
    """`run` takes the parsed flags and returns an exit code; `add_flags` says which flags there are.

    The function finds in its flags, beside them, `command` (its name) and `parser`. Its help is `about`, else its
    docstring. `share` says that it can share its work with other ranks (`ranks.py`).
    """

    run: Callable[[Namespace], int]
    add_flags: Callable[[Parser], None]
    about: str | None = None
    share: bool = False

    @property
    def help(self) -> str:
        return self.about or self.run.__doc__ or ""


@dataclass(frozen=True)
class Program:
    """The name of a program, and its commands."""

    name: str
    about: str
    groups: Mapping[str, Mapping[str, Command]]  # heading -> name -> command
    default: str | None = None  # the command that is meant where none is named; None: the help
    aliases: Mapping[str, str] = field(default_factory=dict)
    typed: Mapping[str, str] = field(default_factory=dict)  # see `minidl.text.calls`

    @property
    def commands(self) -> dict[str, Command]:
        return {name: command for group in self.groups.values() for name, command in group.items()}

    def main(self, argv: list[str] | None = None) -> int:
        """Runs one command and returns its exit code; every failure is one line on stderr (see `boundary`)."""
        mute_others()
        with called_as(self.name, self.typed):
            return run_guarded(self.name, lambda: self._run(sys.argv[1:] if argv is None else argv))

    def _run(self, argv: list[str]) -> int:
        if argv[:1] == ["help"]:  # `help`, or `help eval`
            argv = [*argv[1:2], "--help"]
        if argv == ["--version"]:
            print_lines(f"minidl {__version__}")
        elif argv[:1] in (["-h"], ["--help"]) or not (argv or self.default):
            print_lines(*self.help().splitlines())
        else:
            args = self.parse(argv)
            return run_on_ranks(args.run, args, self.commands[args.command].share)
        return 0

    def parse(self, argv: list[str]) -> Namespace:
        """The flags of one command; raises UsageError for wrong ones."""
        if self.default and (not argv or argv[0].startswith("-")):
            argv = [self.default, *argv]
        typed, *flags = argv
        name = self.aliases.get(typed, typed)
        if name not in self.commands:
            raise UsageError(self._unknown(typed))
        command = self.commands[name]
        parser = Parser(prog=f"{self.name} {typed}", description=command.help)
        command.add_flags(parser)
        parser.set_defaults(run=command.run, command=name, parser=parser)
        return parser.parse_intermixed_args(flags)  # flags may stand anywhere: `predict RUN --threads 1 PHOTO`

    def _unknown(self, typed: str) -> str:
        if typed in self.typed:
            return f"no command {typed!r} here: it is `{call(typed)}`"
        near = difflib.get_close_matches(typed, [*self.commands, *self.aliases])
        advice = f"did you mean {' or '.join(near)}?" if near else f"choose {', '.join(self.commands)}"
        return f"no command {typed!r}: {advice} (see {self.name} --help)"

    def help(self) -> str:
        """All commands in their groups, a line each."""
        width = max(min(shutil.get_terminal_size().columns - 2, 118), 40)
        column = max(map(len, self.commands)) + 4
        lines = [f"usage: {self.name} COMMAND [flags]", "", *textwrap.wrap(self.about, width, break_on_hyphens=False)]
        for heading, commands in self.groups.items():
            lines += ["", heading]
            for name, command in commands.items():
                text = command.help[0].lower() + command.help[1:].rstrip(".")
                start = f"  {name}".ljust(column)
                lines += textwrap.wrap(text, width, initial_indent=start, subsequent_indent=" " * column)
        return "\n".join([*lines, "", f"`{self.name} COMMAND --help` lists the flags of a command"])
