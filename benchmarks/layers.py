"""Speed of single layers of the refined net: minidl against torch, channels last.

    python -m benchmarks.layers [--quick] [--json PATH] [--batch-size 64] [--threads N] [--rounds 5] [--steps 5]
                                [--only CASE ...] [--results FOLDER]

Each contender runs in a process of its own, in alternating rounds. The report has milliseconds of a forward pass in
training mode, and of a forward and a backward pass (without dx for the stem, which training doesn't need).
"""

from __future__ import annotations

from functools import partial
from statistics import median
from typing import Any, NamedTuple

from benchmarks.cli import as_json, conditions, flags, results_folder, run, settings, write
from benchmarks.contenders import choose
from benchmarks.machine import describe
from benchmarks.rounds import Task, alternate, working
from minidl.text.progress import Progress


class Case(NamedTuple):
    """Some layers in a row, named as in the refined net, and the shape of an input without the batch."""

    layers: tuple[str, ...]
    in_shape: tuple[int, ...]
    what: str
    need_dx: bool = True


CASES = {
    "stem": Case(("stem", "pool1"), (64, 64, 3), "stem and max pool 4x4", need_dx=False),
    "inception1": Case(("inception1", "pool2"), (30, 30, 128), "inception 1 and max pool 2x2"),
    "inception2": Case(("inception2",), (16, 16, 128), "inception 2"),
    "inception3": Case(("inception3", "pool3"), (16, 16, 128), "inception 3 and max pool 2x2"),
    "inception4": Case(("inception4", "avgpool"), (8, 8, 256), "inception 4 and global average pool"),
    "conv3x3": Case(("inception1.b3",), (30, 30, 48), "3x3 convolution 48->64, BN, ReLU"),
    "maxpool": Case(("pool3",), (16, 16, 256), "max pool 2x2"),
    "linear": Case(("fc",), (320,), "linear 320->200"),
}
PASSES = {"forward": "forward_ms", "both": "forward_backward_ms"}  # methods of a case, and their keys in the figures
BUDGET = 3.0  # seconds of a contender in one pass of one case


def compare(
    names: list[str], batch_size: int, threads: int, rounds: int, steps: int, cases: list[str]
) -> dict[str, Any]:
    """Milliseconds by pass, contender and case."""
    figures: dict[str, Any] = {key: {name: {} for name in names} for key in PASSES.values()}
    with (
        Progress("layers", len(cases) * len(PASSES) * rounds, "round") as progress,
        working(Task("layers", name, batch_size, threads, steps) for name in names) as workers,
    ):
        for case in cases:
            for method, key in PASSES.items():
                tell = partial(progress.add, 1)
                for name, measured in alternate(workers, f"{case}.{method}", rounds, BUDGET, tell).items():
                    figures[key][name][case] = round(1000 * median(m["seconds"] for m in measured) / steps, 3)
    return figures


def table(figures: dict[str, Any]) -> str:
    """A row for each case, a column for each pass of each contender."""
    forward, both = (figures[key] for key in PASSES.values())
    heads = [f"{words}, {name}" for words, by in (("forward", forward), ("both", both)) for name in by]
    compared = {"minidl", "torch_channels_last"} <= both.keys()
    heads += ["minidl: times as fast as torch, forward", "both"] * compared
    lines = [f"| ms | in | {' | '.join(heads)} |", f"|---|---|{'---:|' * len(heads)}"]
    for case in next(iter(both.values())):
        _, in_shape, what, _ = CASES[case]
        times = [f"{of[case]:.2f}" for by in (forward, both) for of in by.values()]
        if compared:
            times += [f"{by['torch_channels_last'][case] / by['minidl'][case]:.2f}" for by in (forward, both)]
        lines.append(f"| {what} | {'x'.join(map(str, in_shape))} | {' | '.join(times)} |")
    return "\n".join(lines)


def report(figures: dict[str, Any]) -> str:
    chosen = figures["settings"]
    head = (
        f"Layers of the refined net in training mode, float32; batch {chosen['batch_size']}, {chosen['threads']} "
        f"threads each, medians of {chosen['rounds']} alternating rounds of {chosen['steps']} passes. Milliseconds "
        "of a forward pass, and of a forward and a backward pass (both)."
    )
    return "\n".join([head, "", table(figures), "", conditions(figures)])


def main() -> None:
    parser = flags("benchmarks.layers", __doc__, batch_size=(64, 16), rounds=(5, 1), steps=(5, 1))
    parser.add_argument("--only", nargs="+", choices=CASES, metavar="CASE", help=f"of {', '.join(CASES)}")
    args = parser.parse_args()
    names = choose("layers")
    chosen = settings(parser, args)
    sizes = {name: chosen[name] for name in ("batch_size", "threads", "rounds", "steps")}
    figures = {"machine": describe(), "settings": chosen, **compare(names, **sizes, cases=args.only or [*CASES])}
    print(report(figures))
    if args.json:
        write(args.json, as_json(figures))
    if (folder := results_folder(args)) and (args.results or not args.only):
        write(folder / "layers.md", f"# Layers\n\nWritten by `python -m benchmarks.layers`.\n\n{report(figures)}\n")


if __name__ == "__main__":
    run(main)
