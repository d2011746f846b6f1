"""What the scripts share: one line for every error, and the flags of commands that take a trained network."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import NoReturn

from minidl.errors import MinidlError, OutOfMemoryError, UsageError
from minidl.training.config import ENGINE_HELP, ENGINES, TF32_HELP, THREADS_HELP, whole
from minidl.training.runs import find_checkpoint

INTERRUPTED = 130


class Parser(argparse.ArgumentParser):
    """Answers a wrong flag with one line, not with the whole usage."""

    def error(self, message: str) -> NoReturn:
        print(f"{self.prog.split()[0]}: {message} (see {self.prog} --help)", file=sys.stderr)
        sys.exit(UsageError.exit_code)


class Commands:
    """The commands of a script, each with flags of its own.

    `models` is the package of that name, which commands find in their flags: minidl itself never imports it.
    """

    def __init__(self, script: str, about: str | None, models: ModuleType) -> None:
        self.models = models
        self.parser = Parser(
            prog=script, description=about, epilog=f"`{script} COMMAND --help` lists the flags of a command"
        )
        self._commands = self.parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def add(self, name: str, function: Callable[[argparse.Namespace], int], about: str | None = None) -> Parser:
        """A command that calls `function` with the parsed flags; its help is `about`, else the docstring."""
        about = about or function.__doc__
        sub = self._commands.add_parser(name, help=about[0].lower() + about[1:].rstrip("."), description=about)
        sub.set_defaults(function=function)
        return sub

    def run(self, argv: list[str]) -> int:
        """Runs one command; every expected failure is one line on stderr and the exit code of its class."""
        args = self.parser.parse_args(argv)
        args.models = self.models
        try:
            return args.function(args)
        except MinidlError as error:
            print(f"{self.parser.prog}: {error}", file=sys.stderr)
            return error.exit_code
        except MemoryError as error:  # where no batch size is to blame: `commands.common` has a better answer
            print(f"{self.parser.prog}: out of memory{f' ({error})' if str(error) else ''}", file=sys.stderr)
            return OutOfMemoryError.exit_code
        except KeyboardInterrupt:
            return INTERRUPTED
        except BrokenPipeError:  # the reader of our output has gone, as in `train.py eval RUN | head`
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0


def add_trained_flags(parser: argparse.ArgumentParser, pretrained: list[str]) -> None:
    """RUN, or one of the `pretrained` networks by name, and how it is run."""
    parser.add_argument("run", nargs="?", metavar="RUN", help="run folder or checkpoint file")
    parser.add_argument("--pretrained", choices=pretrained, help="a network that comes with minidl, in place of RUN")
    parser.add_argument("--checkpoint", default="best", help="which checkpoint of a run folder (default %(default)s)")
    parser.add_argument("--data", help="data set (default: the one it was trained on)")
    parser.add_argument("--backend", default="numpy", choices=("numpy", "cupy"), help="numpy (CPU) or cupy (GPU)")
    parser.add_argument("--tf32", action="store_true", help=TF32_HELP)
    parser.add_argument("--engine", default="fused", choices=ENGINES, help=f"{ENGINE_HELP} (default fused)")
    parser.add_argument("--threads", default=0, type=whole, help=f"{THREADS_HELP} (default 0)")


def trained_file(args: argparse.Namespace) -> Path:
    """The checkpoint file of the network asked for."""
    if (args.run is None) == (args.pretrained is None):
        raise UsageError("give either a run folder or checkpoint file, or --pretrained")
    if args.pretrained:
        return args.models.weights_file(args.pretrained)
    return find_checkpoint(Path(args.run), args.checkpoint)
