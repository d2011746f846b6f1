"""The flags that several commands share, and their meaning."""

from __future__ import annotations

import os
from argparse import SUPPRESS, Action, ArgumentTypeError, BooleanOptionalAction, Namespace
from collections.abc import Callable, Collection, Mapping
from dataclasses import Field, fields
from pathlib import Path
from typing import Any

from minidl.cli.parser import Parser
from minidl.data.folder import EXTENSIONS
from minidl.data.naming import resolve
from minidl.errors import UsageError
from minidl.models import OPTIONS, REGISTRY, pretrained, weights_file
from minidl.parallel.communicator import ALONE, Communicator
from minidl.text import numbers
from minidl.text.console import warn
from minidl.training.checkpoints import Checkpoint, load_checkpoint
from minidl.training.config import ENGINE_HELP, ENGINES, PRESETS, TF32_HELP, THREADS_HELP, Config
from minidl.training.execution import Execution
from minidl.training.folders import LONGEST_NAME
from minidl.training.runs import find_checkpoint, started
from minidl.training.together import same_checkpoint

NAMES = {"model": tuple(REGISTRY), **OPTIONS}
KEPT_BY_RUNS = ("checkpoint_minutes", "snapshot_epochs", "keep", "log")  # settings of what a run folder keeps


def flag(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """`parse` as the type of a flag: its message about a wrong text is printed with the flag's name."""

    def typed(text: str) -> Any:
        if not text:
            raise ArgumentTypeError("the value is empty: leave the flag out, or give one")
        try:
            return parse(text)
        except UsageError as error:
            raise ArgumentTypeError(str(error)) from None

    return typed


count, whole, positive = flag(numbers.count), flag(numbers.whole), flag(numbers.positive)
pixels, seed32, seed64 = flag(numbers.pixels), flag(numbers.seed32), flag(numbers.seed64)
place = flag(os.path.expanduser)  # a file or folder to write; a shell leaves the ~ of --output=~/x as it is


@flag
def folder_name(text: str) -> str:
    """A name for a new folder: one part of a path, printable, and short enough for every file system."""
    plain = text not in ("", ".", "..") and Path(text).name == text and text.isprintable()
    if not plain or len(text.encode()) > LONGEST_NAME:
        raise UsageError(f"{text[:40]!r}: give a plain folder name of at most {LONGEST_NAME} bytes")
    return text


# ------------------------------------------------------------------------- settings


def add_preset_flag(parser: Parser) -> None:
    about = "quick: the defaults below; paper: the report's settings; modern, best: ours, for 10 and 70 epochs"
    parser.add_argument("--preset", choices=list(PRESETS), help=about)


def add_config_flags(
    parser: Parser, left_out: Collection[str] = (), defaults: Mapping[str, Any] | None = None
) -> None:
    """A flag for every field of Config except those `left_out`. A flag that isn't given doesn't appear in the parsed
    namespace.

    `defaults` are values for the help, if a command's defaults differ from those of Config.
    """
    for f in fields(Config):
        if f.name not in left_out:
            _add_config_flag(parser, f, (defaults or {}).get(f.name, f.default))


def _add_config_flag(parser: Parser, f: Field, default: Any) -> Action:
    options = dict(f.metadata)
    if f.name in NAMES:
        options["choices"] = NAMES[f.name]
    if isinstance(f.default, bool):
        options["action"] = BooleanOptionalAction
    elif "choices" not in options:
        options["type"] = flag(options.get("type", str))
    about = options.pop("help").format(models=", ".join(REGISTRY))
    if default is not None:
        about += f" (default {default})"
    name = "--" + f.name.replace("_", "-")
    return parser.add_argument(name, help=about.replace("%", "%%"), default=SUPPRESS, dest=f.name, **options)


def given_settings(args: Namespace) -> dict[str, Any]:
    """The settings given on the command line."""
    return {f: v for f, v in vars(args).items() if f in Config.__dataclass_fields__}


# ---------------------------------------------------------------- a trained network


def add_trained_flags(parser: Parser, photos: bool = False) -> None:
    """RUN, or a pretrained network by name; with `photos`, those follow RUN."""
    if photos:
        parser.add_argument(
            "paths", nargs="*", metavar="RUN PHOTO", help="run folder or checkpoint file, then photos"
        )
    else:
        parser.add_argument(
            "paths", nargs="*", metavar="RUN", help="run folder or checkpoint file (of several runs the newest)"
        )
    parser.add_argument(
        "--pretrained", choices=pretrained(), help="a network that comes with minidl, in place of RUN"
    )
    parser.add_argument("--checkpoint", default="best", help="which checkpoint of a run folder (default %(default)s)")


def is_run(path: Path) -> bool:
    """Whether `path` is a run folder or a checkpoint file, judged by its name and content."""
    return path.suffix == ".safetensors" or os.path.isfile(path / "config.json")


def trained_file(args: Namespace) -> Path:
    """The checkpoint file of the network: of --pretrained, or of the newest run in args.paths."""
    runs = [Path(path) for path in args.paths]
    if bool(runs) == bool(args.pretrained):
        raise UsageError("give either RUN, a run folder or checkpoint file, or --pretrained")
    if args.checkpoint != args.parser.get_default("checkpoint") and (args.pretrained or runs[0].is_file()):
        name = args.pretrained or runs[0]
        raise UsageError(f"--checkpoint {args.checkpoint}: {name} isn't a run folder, so it has one checkpoint only")
    if args.pretrained:
        return weights_file(args.pretrained)
    for path in runs:
        if path.suffix.lower() in EXTENSIONS and path.is_file():
            raise UsageError(
                f"{path}: a photo, and RUN is missing: give a run folder or checkpoint file first (or --pretrained)"
            )
        if len(runs) > 1 and not os.path.isfile(path / "config.json"):
            raise UsageError(f"{path}: not a run folder: of several arguments, each must be one; give one RUN")
    run = max(runs, key=started) if len(runs) > 1 else runs[0]
    if len(runs) > 1:
        warn(f"{len(runs)} runs are given, this is the newest: {run}")
    return find_checkpoint(run, args.checkpoint)


def read_trained(args: Namespace, comm: Communicator = ALONE) -> Checkpoint:
    """The network of `trained_file`, which rank 0 reads and the other ranks get from it."""
    return same_checkpoint(comm, load_checkpoint(trained_file(args)) if comm.rank == 0 else None)


def add_data_flags(parser: Parser) -> None:
    """Flags for the images that the network is shown."""
    parser.add_argument(
        "--data", type=flag(resolve), help="where the data set is (default: where it was in training)"
    )
    parser.add_argument(
        "--whole",
        action="store_true",
        help="whole splits of the data set, even if the run used a part (--subset)",
    )


def add_use_flags(parser: Parser) -> None:
    """Flags for the images that the network is shown, and for how it is run."""
    add_data_flags(parser)
    parser.add_argument("--backend", default="numpy", choices=("numpy", "cupy"), help="numpy (CPU) or cupy (GPU)")
    parser.add_argument("--tf32", action=BooleanOptionalAction, default=False, help=TF32_HELP)
    parser.add_argument("--engine", default="fused", choices=ENGINES, help=f"{ENGINE_HELP} (default fused)")
    parser.add_argument("--threads", default=0, type=flag(numbers.thread_count), help=f"{THREADS_HELP} (default 0)")


def execution(args: Namespace) -> Execution:
    """How a network is run, from the flags of `add_use_flags`."""
    return Execution(args.engine, args.backend, args.tf32, args.threads)


def changed_flags(args: Namespace, *names: str) -> dict[str, Any]:
    """The flags among `names` that were given another value than their default."""
    values = {name: getattr(args, name, None) for name in names}
    return {name: v for name, v in values.items() if v != args.parser.get_default(name)}
