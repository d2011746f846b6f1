"""What the benchmark commands share: their flags, where their figures go, and how they end."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from benchmarks.machine import cores, describe, load
from benchmarks.rounds import ROOT
from minidl.errors import MinidlError
from minidl.storage.files import atomic
from minidl.storage.metadata import to_json

RESULTS = ROOT / "benchmarks" / "results"


def flags(command: str, doc: str, **sizes: tuple[int, int]) -> argparse.ArgumentParser:
    """A parser with the flags of all commands; `sizes` are flags too: name = (default, default with --quick)."""
    parser = argparse.ArgumentParser(prog=f"python -m {command}", description=doc.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke run of less than a minute; figures mean little")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures there as JSON")
    parser.add_argument(
        "--results",
        type=Path,
        metavar="FOLDER",
        help="where tables and charts go (default: benchmarks/results, with --quick nowhere)",
    )
    parser.add_argument("--threads", type=int, default=cores(), help="of each contender (default: all cores)")
    for name, (full, quick) in sizes.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, help=f"default {full}, {quick} with --quick")
    parser.set_defaults(sizes=sizes)
    return parser


def settings(parser: argparse.ArgumentParser, args: argparse.Namespace) -> dict[str, Any]:
    """The sizes as given or by default, the load of the machine, and the date."""
    chosen = {"threads": args.threads}
    for name, defaults in args.sizes.items():
        given = getattr(args, name)
        chosen[name] = defaults[args.quick] if given is None else given
    if min(chosen.values()) < 1:
        parser.error(f"{', '.join(chosen)} must be at least 1")
    return {**chosen, "load": load(), "date": date.today().isoformat()}


def conditions(figures: dict[str, Any]) -> str:
    """The machine and the day, in words."""
    machine = ", ".join(f"{key} {value}" for key, value in figures["machine"].items())
    return (
        f"{machine}.\nLoad average before the run {figures['settings']['load']:.1f}. {figures['settings']['date']}."
    )


def results_folder(args: argparse.Namespace) -> Path | None:
    """Where tables and charts go, made if need be; None: nowhere."""
    folder = args.results or (None if args.quick else RESULTS)
    if folder:
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def table(head: list[str], rows: list[list[object]]) -> str:
    """Markdown; a column of numbers to the right."""
    columns = zip(*rows, strict=True)
    rule = ["---:" if "".join(map(str, column))[:1].isdigit() else "---" for column in columns]
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in (head, rule, *rows))


def as_json(figures: dict[str, Any]) -> str:
    return to_json(figures, indent=2) + "\n"


def write(path: Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_page(path: Path, title: str, command: str, text: str) -> None:
    """Writes `text` with its title, the command that made it, the machine and the day."""
    path.parent.mkdir(parents=True, exist_ok=True)
    machine = ", ".join(f"{key} {value}" for key, value in describe().items())
    write(path, f"# {title}\n\nWritten by `{command}`.\n\n{text}\n\n{machine}. {date.today().isoformat()}.\n")


def run(main: Callable[[], None]) -> None:
    """Ends the program with exit code 0, or with an error's own code and one line; 130 when it is interrupted."""
    try:
        main()
    except MinidlError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("\ninterrupted", file=sys.stderr)
        sys.exit(130)
