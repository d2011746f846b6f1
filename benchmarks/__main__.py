"""Training and inference speed of whole nets: minidl against other frameworks, in the same run.

    python -m benchmarks [--quick] [--json PATH] [--network refined|vgg] [--only NAME [NAME ...]]
                         [--batch-size 64] [--threads N] [--rounds 7] [--steps 3] [--results FOLDER]

Each contender runs in a process of its own, on as many cores as it has threads. Rounds go from one contender to the
next while the others wait, so that other work on the machine affects all of them alike. The report has medians over
rounds, the ratio to torch's default layout, and each process's peak resident memory after training (before
inference). A training step is complete: forward with dropout and running statistics, cross-entropy, backward, Adam;
all in float32. Contenders whose package is not installed are left out. A full run writes its figures to
benchmarks/results/; a --quick run writes only where --json and --results say.
"""

from __future__ import annotations

from statistics import median
from typing import Any

from benchmarks.chart import save_chart
from benchmarks.cli import as_json, flags, results_folder, run, settings, write
from benchmarks.contenders import CONTENDERS, choose
from benchmarks.machine import describe
from benchmarks.report import report
from benchmarks.rounds import Task, alternate, working
from benchmarks.settings import SIDES

TABLES = {"refined": "README.md", "vgg": "vgg.md"}


def compare(network: str, names: list[str], batch_size: int, threads: int, rounds: int, steps: int) -> dict[str, Any]:
    """The figures of all contenders: images per second by round, cores kept busy, and peak memory after training."""
    tasks = [Task(network, name, batch_size, threads, steps) for name in names]
    with working(tasks) as workers:
        trainers = [worker for worker in workers if CONTENDERS[network][worker.task.name].trains]
        seen = {"train": alternate(trainers, "train", rounds), "infer": alternate(workers, "infer", rounds)}
        reported = {worker.task.name: worker.threads for worker in workers}
    speed = {
        what: {name: [batch_size * steps / m["seconds"] for m in measured] for name, measured in by.items()}
        for what, by in seen.items()
    }
    return {
        "train_img_s": {name: round(median(v), 1) for name, v in speed["train"].items()},
        "infer_img_s": {name: round(median(v), 1) for name, v in speed["infer"].items()},
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


def main() -> None:
    parser = flags("benchmarks", __doc__, batch_size=(64, 16), rounds=(7, 3), steps=(3, 1))
    parser.add_argument("--network", choices=SIDES, default="refined", help="default refined")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these contenders alone")
    args = parser.parse_args()
    names = choose(args.network, args.only, args.quick)
    chosen = settings(parser, args)
    sizes = {name: chosen[name] for name in ("batch_size", "threads", "rounds", "steps")}
    figures = {
        "machine": describe(),
        "settings": {"network": args.network, **chosen},
        **compare(args.network, names, **sizes),
    }
    print(report(figures))
    if args.json:
        write(args.json, as_json(figures))
    if folder := results_folder(args):
        write(folder / f"{args.network}.json", as_json(figures))
        save_chart(folder / f"{args.network}.png", figures)
        head = (
            f"# Speed and memory\n\nWritten by `python -m benchmarks --network {args.network}`; every round is in "
            f"`{args.network}.json`.\n\n![Images per second]({args.network}.png)\n\n"
        )
        write(folder / TABLES[args.network], head + report(figures) + "\n")


if __name__ == "__main__":
    run(main)
