"""The command `find-lr`: one short training at rising learning rates."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from minidl.cli.common import memory_guarded, new_trainer, seed_and_engine
from minidl.cli.flags import KEPT_BY_RUNS, add_config_flags, add_preset_flag, count, given_settings, place, positive
from minidl.cli.parser import Command, Parser
from minidl.errors import UsageError
from minidl.parallel.communicator import ALONE
from minidl.storage.files import check_target
from minidl.text.console import print_lines
from minidl.text.progress import Progress
from minidl.training import run_data
from minidl.training.config import make_config
from minidl.training.execution import one_blas_thread
from minidl.training.together import same_start

NOT_OF_A_RANGE_TEST = ("epochs", "lr", "schedule", "drop_epoch", "warmup_epochs", "patience", "ema", *KEPT_BY_RUNS)


def find_lr(args: Namespace) -> int:
    """Raises the learning rate from step to step, draws the loss over it and suggests a rate."""
    from minidl.training.range_test import range_test
    from minidl.visual.canvas import check_picture
    from minidl.visual.search_plots import save_range_test

    picture = Path(args.picture)
    check_picture(picture)
    check_target(picture.with_suffix(".csv"))
    if args.low >= args.high:
        raise UsageError(f"--from {args.low:g} --to {args.high:g}: the lower rate comes first")
    config = make_config(args.preset or "quick", given_settings(args))
    with one_blas_thread():
        data = run_data.load_data(config)
        trainer, lines, needed = new_trainer(config, data, same_start(ALONE, config))
        lines.append(f"training at lr {args.low:g} to {args.high:g}, {config.optimizer}, {seed_and_engine(config)}")
        print_lines(*lines)
        steps = min(args.steps, len(trainer.train))
        with memory_guarded(config, needed, trainer.xp), Progress("range test", steps, "step") as bar:
            test = range_test(trainer, args.low, args.high, args.steps, bar.add)
    test.write(picture.with_suffix(".csv"))
    if test.steepest is None:
        print_lines(f"no suggestion: the loss never falls from lr {args.low:g} to {test.rates[-1]:.1e}")
    else:
        print_lines(f"--lr {test.steepest:.1e}  suggested: the loss falls fastest there (steepest descent)")
        print_lines(f"--lr {test.tenth:.1e}  a tenth of the rate of the lowest loss")
    save_range_test(picture, test, f"Learning-rate range test of {config.model} on {data.dataset.name}")
    print_lines(f"wrote {picture}", f"wrote {picture.with_suffix('.csv')}")
    return 0


def _add_find_lr_flags(parser: Parser) -> None:
    add_preset_flag(parser)
    add_config_flags(parser, NOT_OF_A_RANGE_TEST)
    parser.add_argument("--from", dest="low", type=positive, default=1e-6, help="first learning rate (default 1e-06)")
    parser.add_argument("--to", dest="high", type=positive, default=10.0, help="last learning rate (default 10)")
    parser.add_argument(
        "--steps", type=count, default=200, help="at most, within one epoch; at least 10 (default 200)"
    )
    parser.add_argument(
        "--picture", type=place, default="find-lr.png", metavar="FILE",
        help="what to write, with a CSV beside it (default find-lr.png)",
    )  # fmt: skip


FIND_LR = Command(find_lr, _add_find_lr_flags)
