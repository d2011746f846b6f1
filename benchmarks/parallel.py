"""Training on several processes: speed of steps, time of sums over ranks, and a prediction for many machines.

    python -m benchmarks.parallel [--quick] [--json PATH] [--threads N] [--rounds 5] [--steps 3] [--results FOLDER]

It starts mpiexec itself, that of this Python's environment or of the machine (`pip install -e '.[mpi]' mpich`).

1. Training steps of the refined net, with 64 random images over all ranks: one process with all threads against two
   ranks with half of them each, by default, with --sync-bn and with --exact, in alternating rounds. A ratio is the
   median of the rounds' ratios.
2. The same weights: after three steps, on one, two and four ranks (four may be more than there are cores).
3. The time of a sum and a gathering over ranks, by size.
4. Efficiency on up to 1,024 machines, predicted by the model in `cluster.py` from what was measured and from
   published figures of networks.

A full run takes about four minutes on two cores. Figures are written after each part.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks import cluster
from benchmarks.cli import as_json, flags, results_folder, run, settings, write
from benchmarks.machine import describe
from benchmarks.minidl_step import NETWORKS
from benchmarks.parallel_chart import save_scaling
from benchmarks.parallel_report import efficiencies, report
from benchmarks.ranks import Group, Setting, groups, launcher
from benchmarks.rounds import Task, alternate, working
from minidl.text.progress import Progress

CALLS = ("allreduce", "tree_sum", "allgather")
SIZES = [1024 * 4**k for k in range(9)]  # bytes: 1 KiB to 64 MiB
QUICK_SIZES = [1024, 1024 * 4**5, 1024 * 4**7]
IMAGES = {"refined": (1, 4, 16, 64), "resnet18": (1, 4, 16)}  # of the steps whose times the prediction begins with
BUDGET = 10.0  # seconds for each of these


def contenders(threads: int, steps: int) -> list[Setting]:
    """The first is what the others are compared with."""
    half, all_of_them = threads // 2, partial(Setting, ranks=1, threads=threads, steps=steps)
    two, one_rank = partial(Setting, ranks=2, threads=half, steps=steps), partial(Setting, "default", 1, half)
    return [
        all_of_them("default"),
        two("default"),
        two("sync-bn"),
        all_of_them("exact"),
        two("exact"),
        one_rank(64, steps),
        one_rank(32, steps),  # what each of two ranks has
    ]


def speeds(begun: list[Group], rounds: int) -> dict[str, dict[str, Any]]:
    """Images per second of each setting, its ratio to the first one's, and memory of all its processes."""
    seen = alternate(begun, "train", rounds)
    by_round = {
        str(g.task): [g.task.batch_size * g.task.steps / m["seconds"] for m in seen[str(g.task)]] for g in begun
    }
    first = by_round[str(begun[0].task)]
    return {
        name: {
            "img_s": round(median(of), 1),
            "ratio": round(median(a / b for a, b in zip(of, first, strict=False)), 3),
            "peak_rss_mb": round(seen[name][-1]["peak_rss_mb"]),
            "rounds": [round(speed, 1) for speed in of],
        }
        for name, of in by_round.items()
    }


def after_three_steps(group: Group) -> dict[str, Any]:
    """Of a group that has just begun: mode, ranks, loss, a digest of the weights, and whether all ranks agree."""
    first, task = group.ready[0], group.task
    agree = all((a["loss"], a["digest"]) == (first["loss"], first["digest"]) for a in group.ready)
    return {"mode": task.mode, "ranks": task.ranks, "agree": agree, "loss": first["loss"], "digest": first["digest"]}


def message_times(ranks: int, sizes: list[int], crowded: bool) -> dict[str, dict[str, float]]:
    """{call: {bytes: seconds}}. `crowded`: more ranks than cores, where each call may take a time slice."""
    with (
        groups([Setting("messages", ranks, 1)]) as (group,),
        Progress(f"messages of {ranks} ranks", len(CALLS) * len(sizes), "size", leave=False) as progress,
    ):
        times: dict[str, dict[str, float]] = {call: {} for call in CALLS}
        for call in CALLS:
            for size in sizes:
                calls = 50 if size < 2**17 else 10 if size < 2**21 else 2
                times[call][str(size)] = group.measure(call, size, 1 if crowded else calls)["seconds"]
                progress.add(1)
    return times


def computing_times(networks: list[str], threads: int, rounds: int) -> dict[str, dict[str, float]]:
    """{network: {images: seconds of a training step in one process}}."""
    times = {}
    for network in networks:
        tasks = [Task(network, "minidl", n, threads, max(1, 16 // n), f"batch {n}") for n in IMAGES[network]]
        with working(tasks) as workers:
            seen = alternate(workers, "train", rounds, BUDGET)
        times[network] = {
            str(task.batch_size): median(m["seconds"] / task.steps for m in seen[str(task)]) for task in tasks
        }
    return times


def save(figures: dict[str, Any], json: Path | None, folder: Path | None) -> None:
    if json:
        write(json, as_json(figures))
    if folder is None:
        return
    write(folder / "parallel.json", as_json(figures))
    head = "# Several processes\n\nWritten by `python -m benchmarks.parallel`; every round is in `parallel.json`.\n\n"
    if "links" in figures:
        networks = {
            name: ({int(n): s for n, s in times.items()}, figures["bytes"][name])
            for name, times in figures["computing"].items()
        }
        machine, links = figures["machine"], [cluster.Link(**link) for link in figures["links"]]
        about = f"{figures['settings']['threads']} threads of {machine['processor']}"
        save_scaling(folder / "parallel.png", networks, links, efficiencies(figures["speeds"]), about)
        head += "![Efficiency over the number of ranks, predicted](parallel.png)\n\n"
    write(folder / "parallel.md", f"{head}{report(figures)}\n")


def main() -> None:
    parser = flags("benchmarks.parallel", __doc__, rounds=(5, 1), steps=(3, 1))
    args = parser.parse_args()
    chosen, folder = settings(parser, args), results_folder(args)
    if chosen["threads"] < 2:
        parser.error("two ranks need --threads 2 or more")
    launcher()  # raises if it is missing
    figures: dict[str, Any] = {"machine": describe(), "settings": chosen}
    tell = partial(save, figures, args.json, folder)

    with groups(contenders(chosen["threads"], chosen["steps"])) as begun:
        figures["same"] = [after_three_steps(group) for group in begun if group.task.batch_size == 64][:5]
        figures["speeds"] = speeds(begun, chosen["rounds"])
    tell()
    for mode in ("sync-bn", "exact"):
        with groups([Setting(mode, 4, 1)]) as (group,):
            figures["same"].append(after_three_steps(group))
    tell()
    sizes = QUICK_SIZES if args.quick else SIZES
    figures["messages"] = {"2": message_times(2, sizes, chosen["threads"] < 2)}
    figures["messages"]["4"] = message_times(4, sizes, chosen["threads"] < 4)
    tell()
    networks = ["refined"] if args.quick else [*IMAGES]
    figures["computing"] = computing_times(networks, chosen["threads"], min(chosen["rounds"], 3))
    figures["bytes"] = {n: 4 * sum(p.value.size for p in NETWORKS[n]().named_parameters().values()) for n in networks}
    one_exchange = {int(size): seconds for size, seconds in figures["messages"]["2"]["tree_sum"].items()}
    links = [cluster.measured_link(one_exchange), *cluster.PUBLISHED]
    figures["links"] = [link._asdict() for link in links]
    tell()
    print(report(figures))


if __name__ == "__main__":
    run(main)
