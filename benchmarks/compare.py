"""Whole nets in one run: what the contenders' processes measured, as figures, and how minidl stands among them."""

from __future__ import annotations

from collections.abc import Callable
from statistics import median
from typing import Any

from benchmarks.contenders import CONTENDERS
from benchmarks.rounds import BUDGET, Task, alternate, working

SPEEDS = {"train": "train_img_s", "infer": "infer_img_s"}  # their keys in the figures
OURS = "minidl"  # the fused engine, which the others are compared with


def compare(
    network: str,
    names: list[str],
    batch_size: int,
    threads: int,
    rounds: int,
    steps: int,
    budget: float = BUDGET,
    tell: Callable[[], None] | None = None,
) -> dict[str, Any]:
    """The figures of all contenders: images per second by round, cores kept busy, and peak memory after training."""
    tasks = [Task(network, name, batch_size, threads, steps) for name in names]
    with working(tasks) as workers:
        trainers = [worker for worker in workers if CONTENDERS[network][worker.task.name].trains]
        seen = {
            what: alternate(of, what, rounds, budget, tell) for what, of in (("train", trainers), ("infer", workers))
        }
        reported = {worker.task.name: worker.threads for worker in workers}
    speed = {
        what: {name: [batch_size * steps / m["seconds"] for m in measured] for name, measured in by.items()}
        for what, by in seen.items()
    }
    return {
        **{SPEEDS[what]: {name: round(median(v), 1) for name, v in by.items()} for what, by in speed.items()},
        "peak_rss_mb": {name: round(measured[-1]["peak_rss_mb"]) for name, measured in seen["train"].items()},
        "threads": reported,
        "cores_busy": {
            what: {
                name: round(median(m["cpu_seconds"] / m["seconds"] for m in measured), 2)
                for name, measured in by.items()
            }
            for what, by in seen.items()
        },
        "rounds": {what: {name: [round(s, 1) for s in v] for name, v in by.items()} for what, by in speed.items()},
    }


def best_other(speeds: dict[str, float], bf16: bool = False) -> str | None:
    """The fastest contender that isn't minidl, among those in float32, or those in bfloat16."""
    others = {n: s for n, s in speeds.items() if not n.startswith(OURS) and n.endswith("_bf16") == bf16}
    return max(others, key=others.get, default=None)


def least_of_torch(peaks: dict[str, int]) -> int | None:
    """The least memory of torch's contenders in float32."""
    torch = [mb for name, mb in peaks.items() if name.startswith("torch") and not name.endswith("_bf16")]
    return min(torch, default=None)


def times(speeds: dict[str, float], name: str | None) -> float | None:
    """How many times as fast as `name` minidl is."""
    return speeds[OURS] / speeds[name] if OURS in speeds and name in speeds else None
