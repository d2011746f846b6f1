"""Training and inference speed of whole nets: minidl against other frameworks, in the same run.

    python -m benchmarks [--quick] [--json PATH] [--network refined|vgg|resnet18] [--only NAME [NAME ...]]
                         [--batch-size 64] [--threads N] [--rounds 7] [--steps 3] [--results FOLDER]

Each contender runs in a process of its own, on as many cores as it has threads. Rounds go from one contender to the
next while the others wait, so that other work on the machine affects all of them alike. The report has medians over
rounds, how many times as fast minidl is, and each process's peak resident memory after training (before inference). A
training step is complete: forward with dropout and running statistics, cross-entropy, backward, Adam; all in float32,
but for contenders called `_bf16`, which compute in bfloat16 where PyTorch's autocast says so. The inference of
`minidl` is prepared (`minidl.prepare`). A contender that has taken half a minute takes part in no further
round. Contenders whose package is not installed are left out. A full run writes its figures to benchmarks/results/; a
--quick run, with the same batch size but fewer contenders and rounds, writes only where --json and --results say.
`python -m benchmarks.batches` compares all batch sizes.
"""

from __future__ import annotations

from benchmarks.chart import save_chart
from benchmarks.cli import as_json, flags, results_folder, run, settings, write
from benchmarks.compare import compare
from benchmarks.contenders import choose
from benchmarks.machine import describe
from benchmarks.report import report
from benchmarks.settings import SIDES

TABLES = {"refined": "README.md", "vgg": "vgg.md", "resnet18": "resnet18.md"}
LONG = {"resnet18": {"rounds": (3, 1), "steps": (1, 1)}}  # whose steps take seconds


def main() -> None:
    parser = flags("benchmarks", __doc__, batch_size=(64, 64), rounds=(7, 3), steps=(3, 1))
    parser.add_argument(
        "--network", choices=SIDES, default="refined", help="default refined; resnet18: 3 rounds of 1 step"
    )
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these contenders alone")
    args = parser.parse_args()
    args.sizes |= LONG.get(args.network, {})
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
