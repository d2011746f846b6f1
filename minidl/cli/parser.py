"""What the scripts share: their commands, and the flags of commands that take a trained network."""

from __future__ import annotations

import argparse
import difflib
import os
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from minidl.cli.boundary import INTERRUPTED, run_guarded
from minidl.data.folder import EXTENSIONS
from minidl.data.naming import resolve
from minidl.errors import UsageError
from minidl.text.console import warn
from minidl.training.config import ENGINE_HELP, ENGINES, TF32_HELP, THREADS_HELP, thread_count
from minidl.training.runs import find_checkpoint

__all__ = ["INTERRUPTED", "Commands", "Parser", "add_trained_flags", "add_use_flags", "is_run", "trained_file"]


class Parser(argparse.ArgumentParser):
    """Answers a wrong flag with one line, not with the whole usage."""

    def error(self, message: str) -> NoReturn:
        unknown = [word for word in message.split() if word.startswith("-")] if "unrecognized" in message else []
        for flag in unknown[:1]:
            if near := difflib.get_close_matches(flag.partition("=")[0], self._option_string_actions, 1):
                message += f": did you mean {near[0]}?"
        raise UsageError(f"{message} (see {self.prog} --help)")


class Commands:
    """The commands of a script, each with flags of its own.

    `models` is the package of that name, which commands find in their flags: minidl itself never imports it.
    """

    def __init__(self, script: str, about: str | None, models: ModuleType) -> None:
        self.script, self.models = script, models
        self._parser = Parser(
            prog=script, description=about, epilog=f"`{script} COMMAND --help` lists the flags of a command"
        )
        self._group = self._parser.add_subparsers(metavar="COMMAND", required=True)
        self._commands: dict[str, Parser] = {}

    def add(self, name: str, function: Callable[[argparse.Namespace], int], about: str | None = None) -> Parser:
        """A command that calls `function` with the parsed flags; its help is `about`, else the docstring."""
        about = about or function.__doc__
        sub = self._group.add_parser(name, help=about[0].lower() + about[1:].rstrip("."), description=about)
        sub.set_defaults(function=function, command=name)
        self._commands[name] = sub
        return sub

    def run(self, argv: list[str]) -> int:
        """Runs one command and returns its exit code; every failure is one line on stderr (see `boundary`)."""

        def command() -> int:
            args = self.parse(argv)
            return args.function(args)

        return run_guarded(self.script, command)

    def parse(self, argv: list[str]) -> argparse.Namespace:
        """The flags of one command; raises UsageError for wrong ones."""
        if not argv or argv[0] not in self._commands:
            self._parser.parse_args(argv)  # prints the help, or raises
        # Flags may stand anywhere between the arguments: `predict RUN --threads 1 PHOTO`.
        args = self._commands[argv[0]].parse_intermixed_args(argv[1:])
        args.models = self.models
        return args


def add_trained_flags(parser: argparse.ArgumentParser, pretrained: list[str], photos: bool = False) -> None:
    """RUN, or one of the `pretrained` networks by name; with `photos`, those follow RUN."""
    if photos:
        parser.add_argument(
            "paths", nargs="*", metavar="RUN PHOTO", help="run folder or checkpoint file, then photos"
        )
    else:
        parser.add_argument(
            "paths", nargs="*", metavar="RUN", help="run folder or checkpoint file (of several runs the newest)"
        )
    parser.add_argument("--pretrained", choices=pretrained, help="a network that comes with minidl, in place of RUN")
    parser.add_argument("--checkpoint", default="best", help="which checkpoint of a run folder (default %(default)s)")


def add_use_flags(parser: argparse.ArgumentParser) -> None:
    """The images that the network is shown, and how it is run."""
    parser.add_argument("--data", type=resolve, help="where the data set is (default: where it was in training)")
    parser.add_argument(
        "--whole", action="store_true", help="whole splits of the data set, though the run used a part (--subset ...)"
    )
    parser.add_argument("--backend", default="numpy", choices=("numpy", "cupy"), help="numpy (CPU) or cupy (GPU)")
    parser.add_argument("--tf32", action="store_true", help=TF32_HELP)
    parser.add_argument("--engine", default="fused", choices=ENGINES, help=f"{ENGINE_HELP} (default fused)")
    parser.add_argument("--threads", default=0, type=thread_count, help=f"{THREADS_HELP} (default 0)")


def is_run(path: Path) -> bool:
    """Whether `path` is a run folder or a checkpoint file, as its name and content say."""
    return path.suffix == ".safetensors" or os.path.isfile(path / "config.json")


def trained_file(args: argparse.Namespace) -> Path:
    """The checkpoint file of the network asked for: of --pretrained, or of the newest run of args.paths."""
    runs = [Path(path) for path in args.paths]
    if bool(runs) == bool(args.pretrained):
        raise UsageError("give either RUN, a run folder or checkpoint file, or --pretrained")
    if args.pretrained:
        return args.models.weights_file(args.pretrained)
    for path in runs:
        if path.suffix.lower() in EXTENSIONS and path.is_file():
            raise UsageError(
                f"{path}: a photo, and RUN is missing: give a run folder or checkpoint file first (or --pretrained)"
            )
        if len(runs) > 1 and not os.path.isfile(path / "config.json"):
            raise UsageError(f"{path}: not a run folder, and of several arguments each must be one; give one RUN")
    run = max(runs, key=lambda path: (path / "config.json").stat().st_mtime) if len(runs) > 1 else runs[0]
    if len(runs) > 1:
        warn(f"{len(runs)} runs are given, this is the newest: {run}")
    return find_checkpoint(run, args.checkpoint)
