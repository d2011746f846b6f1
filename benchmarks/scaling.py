"""Training speed of minidl's fused engine by batch size and by threads.

    python -m benchmarks.scaling [--quick] [--json PATH] [--threads N] [--rounds 7] [--results FOLDER]

The refined net; each setting in a process of its own, in alternating rounds of about as many images.
"""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks.cli import as_json, conditions, flags, results_folder, run, settings, write
from benchmarks.machine import describe
from benchmarks.rounds import Task, alternate, working

BATCH_SIZES = (16, 64, 256)
BATCH_SIZE, THREADS = 64, (1, 2)  # the other series


def pairs(threads: int) -> list[tuple[int, int]]:
    """(batch size, threads) of each run; no run has more than `threads`."""
    by_batch = [(batch_size, threads) for batch_size in BATCH_SIZES]
    return by_batch + [(BATCH_SIZE, t) for t in THREADS if t < threads]


def tasks(threads: int, images: int) -> list[Task]:
    return [
        Task("refined", "minidl", batch, t, max(1, images // batch), f"batch {batch}, threads {t}")
        for batch, t in pairs(threads)
    ]


def table(figures: dict[str, Any]) -> str:
    rows = [
        f"| {row['batch_size']} | {row['threads']} | {row['train_img_s']:.1f} | {row['peak_rss_mb']:,} MB |"
        for row in figures["scaling"]
    ]
    return "\n".join(["| batch size | threads | train img/s | peak RSS |", "|---:|---:|---:|---:|", *rows])


def report(figures: dict[str, Any]) -> str:
    chosen = figures["settings"]
    head = (
        f"The training step of the refined net, fused engine, 64x64 images, float32; medians of {chosen['rounds']} "
        f"alternating rounds of {chosen['images']} images (at least one batch)."
    )
    return "\n".join([head, "", table(figures), "", conditions(figures)])


def main() -> None:
    parser = flags("benchmarks.scaling", __doc__, rounds=(7, 1), images=(256, 16))
    args = parser.parse_args()
    chosen = settings(parser, args)
    wanted = tasks(args.threads, chosen["images"])
    with working(wanted) as workers:
        seen = alternate(workers, "train", chosen["rounds"])
    rows = [
        {
            "batch_size": task.batch_size,
            "threads": task.threads,
            "train_img_s": round(median(task.batch_size * task.steps / m["seconds"] for m in seen[str(task)]), 1),
            "peak_rss_mb": round(seen[str(task)][-1]["peak_rss_mb"]),
        }
        for task in wanted
    ]
    figures = {"machine": describe(), "settings": chosen, "scaling": rows}
    print(report(figures))
    if args.json:
        write(args.json, as_json(figures))
    if folder := results_folder(args):
        write(
            folder / "scaling.md", f"# Scaling\n\nWritten by `python -m benchmarks.scaling`.\n\n{report(figures)}\n"
        )


if __name__ == "__main__":
    run(main)
