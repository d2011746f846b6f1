"""Training and inference speed of the refined net: minidl against torch, in the same run.

    python -m benchmarks [--quick] [--json PATH] [--batch-size 64] [--threads N] [--rounds 7]

Each contender runs in a process of its own. Rounds go from one contender to the next while the others wait, so
that whatever else the machine does meets all of them alike. Reported are medians over rounds, the ratio to torch's
default layout, and each process's peak resident memory after training (before inference). A training step is
the whole of it: forward with dropout and running statistics, cross-entropy, backward, Adam. All in float32.
A full run writes its figures to benchmarks/results/, one with --quick only where --json says.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.contenders import BASIS, CONTENDERS
from benchmarks.machine import cores, describe, load
from minidl.errors import MinidlError
from minidl.files import atomic

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
PAUSE = 0.3  # seconds until idle threads of the last contender have stopped spinning
QUICK = {"batch_size": 16, "rounds": 3, "steps": 1}


class Worker:
    """A contender's process; see worker.py."""

    def __init__(self, name: str, batch_size: int, threads: int) -> None:
        self.name = name
        command = [sys.executable, "-m", "benchmarks.worker", name, str(batch_size), str(threads)]
        env = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))
        self.process = subprocess.Popen(
            command, cwd=ROOT, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()

    def measure(self, what: str, steps: int) -> dict[str, float]:
        """Seconds of `steps` steps and the peak memory so far."""
        time.sleep(PAUSE)
        print(what, steps, file=self.process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            sys.exit(f"the process of {self.name} has ended with exit code {self.process.wait()}")
        return json.loads(line)

    def close(self) -> None:
        self.process.stdin.close()
        self.process.wait()


def compare(names: list[str], batch_size: int, threads: int, rounds: int, steps: int) -> dict[str, Any]:
    """The figures of all contenders: images per second by round, and peak memory after training."""
    workers = [Worker(name, batch_size, threads) for name in names]
    try:
        speed: dict[str, dict[str, list[float]]] = {}
        peak: dict[str, float] = {}
        for what in ("train", "infer"):
            speed[what] = {name: [] for name in names}
            for i in range(rounds + 1):  # the first one warms up
                for worker in workers:
                    seen = worker.measure(what, steps)
                    if i:
                        speed[what][worker.name].append(batch_size * steps / seen["seconds"])
                    if what == "train":
                        peak[worker.name] = seen["peak_rss_mb"]
                print(f"\r{what} round {i}/{rounds} ", end="", file=sys.stderr, flush=True)
    finally:
        for worker in workers:
            worker.close()
        print(file=sys.stderr)
    return {
        "train_img_s": {name: round(median(v), 1) for name, v in speed["train"].items()},
        "infer_img_s": {name: round(median(v), 1) for name, v in speed["infer"].items()},
        "peak_rss_mb": {name: round(v) for name, v in peak.items()},
        "rounds": {what: {name: [round(s, 1) for s in v] for name, v in by.items()} for what, by in speed.items()},
    }


def table(figures: dict[str, Any]) -> str:
    """The figures as a Markdown table; ratios are against torch's default layout."""
    lines = [
        f"| | train img/s | ratio to {BASIS} | inference img/s | ratio to {BASIS} | peak RSS in training |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    train, infer, rss = (figures[key] for key in ("train_img_s", "infer_img_s", "peak_rss_mb"))
    for name in train:
        ratios = [f"{speed[name] / speed[BASIS]:.2f}" if BASIS in speed else "" for speed in (train, infer)]
        lines.append(
            f"| {name} | {train[name]:.1f} | {ratios[0]} | {infer[name]:.1f} | {ratios[1]} | {rss[name]:,} MB |"
        )
    return "\n".join(lines)


def report(figures: dict[str, Any]) -> str:
    """All that a reader needs to repeat the run and to judge it."""
    machine, settings = figures["machine"], figures["settings"]
    return "\n".join(
        [
            "The refined net, 64x64 images, float32; "
            f"batch {settings['batch_size']}, {settings['threads']} threads each, medians of {settings['rounds']} "
            f"alternating rounds of {settings['steps']} steps.",
            "",
            table(figures),
            "",
            ", ".join(f"{key} {value}" for key, value in machine.items()) + ".",
            f"Load average before the run {settings['load']:.1f}. {settings['date']}.",
        ]
    )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a smoke run of less than a minute; figures mean little")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write the figures there as JSON")
    parser.add_argument("--batch-size", type=int, help="default 64, 16 with --quick")
    parser.add_argument("--threads", type=int, default=cores(), help="of each contender (default: all cores)")
    parser.add_argument("--rounds", type=int, help="default 7, 3 with --quick")
    args = parser.parse_args()
    missing = sorted({c.needs for c in CONTENDERS.values() if find_spec(c.needs) is None})
    if missing:
        print(f"not installed: {', '.join(missing)}; pip install -e '.[parity]' brings it", file=sys.stderr)
        return 2
    defaults = QUICK if args.quick else {"batch_size": 64, "rounds": 7, "steps": 3}
    given = {"batch_size": args.batch_size, "rounds": args.rounds, "threads": args.threads}
    chosen = defaults | {name: value for name, value in given.items() if value is not None}
    if min(chosen.values()) < 1:
        parser.error("batch size, threads and rounds must be at least 1")
    settings = {**chosen, "load": load(), "date": date.today().isoformat()}
    figures = {"machine": describe(), "settings": settings, **compare(list(CONTENDERS), **chosen)}
    print(report(figures))
    text = json.dumps(figures, indent=2) + "\n"
    if args.json:
        _write(args.json, text)
    if not args.quick:
        RESULTS.mkdir(exist_ok=True)
        _write(RESULTS / "refined.json", text)
        head = "# Speed and memory\n\nWritten by `python -m benchmarks`; every round is in `refined.json`.\n\n"
        _write(RESULTS / "README.md", head + report(figures) + "\n")
    return 0


def _write(path: Path, text: str) -> None:
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except MinidlError as error:
        print(error, file=sys.stderr)
        sys.exit(error.exit_code)
