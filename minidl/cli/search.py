"""The command `search`: short trainings that look for a learning rate and a weight decay."""

from __future__ import annotations

from argparse import SUPPRESS, Namespace
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from minidl.cli.boundary import INTERRUPTED
from minidl.cli.common import memory_guarded, new_trainer, seed_and_engine, stopped_by_signals
from minidl.cli.flags import KEPT_BY_RUNS, add_config_flags, changed_flags, count, folder_name, place, positive
from minidl.cli.parser import Command, Parser
from minidl.data.fingerprint import fingerprint
from minidl.errors import UsageError
from minidl.models import build
from minidl.parallel.communicator import Communicator
from minidl.parallel.cores import ranks_in_words
from minidl.parallel.world import world
from minidl.storage.validate import blamed
from minidl.text.calls import call, quoted
from minidl.text.columns import align
from minidl.text.console import show
from minidl.text.plural import counted
from minidl.training import resume, search
from minidl.training.callbacks import Harmless, Interruption, StopRequested, attempt
from minidl.training.config import Config, check_settings
from minidl.training.execution import one_blas_thread
from minidl.training.folders import check_name, check_no_place
from minidl.training.reports import ProgressBar
from minidl.training.rounds import run_trials
from minidl.training.run_data import Data
from minidl.training.runs import Run
from minidl.training.together import same_data, same_run, same_start
from minidl.training.trainer import Trainer

if TYPE_CHECKING:
    from minidl.training.study import Study

NOT_OF_A_TRIAL = ("lr", "weight_decay", *KEPT_BY_RUNS)


def search_settings(args: Namespace) -> int:
    """Searches for a learning rate and a weight decay as the paper did: short trainings on a part of the data."""
    from minidl.training.study import create_search, import_optuna, open_study

    comm, folder, plan = world(), None, None
    if comm.rank == 0:
        import_optuna()
        folder, plan = search_to_run(args)
    plan = search.same_plan(comm, plan)
    config = plan.config
    stored = nullcontext() if folder is None else blamed(folder / search.PLAN)
    with one_blas_thread(), stored:
        run = same_run(comm, folder and Run(folder))
        data = same_data(comm, lambda: resume.load_data(config, run, None))
        changes = []
        if folder is not None:
            changes = resume.changes(run, data.dataset, "start a new search")
            search.remember(folder, vars(args))
        start = same_start(comm, config)
        trainer, lines, needed = new_trainer(config, data, start, comm)
        steps, xp = len(trainer.train), trainer.xp
        del trainer
        length = f"{counted(config.epochs, 'epoch')} of {counted(steps, 'step')}"
        lines.append(
            f"search   {counted(plan.trials, f'{plan.sampler} trial')} of {length}, "
            f"{config.optimizer}, {config.schedule} lr {plan.lr[0]:g} to {plan.lr[1]:g}, "
            f"weight decay {plan.weight_decay[0]:g} to {plan.weight_decay[1]:g}, {seed_and_engine(config)}"
        )
        lines += ranks_in_words(comm, config.threads)
        lines += changes

        def train_trials(study: Study | None) -> int:
            return _train_trials(study, config, needed, xp, comm, lambda c: search.new_trainer(c, data, build, start))

        if comm.rank:
            return train_trials(None)
        if folder is None:
            folder = create_search(Path(args.output), args.name, plan, fingerprint(data.dataset))
        args.watch.again(f"{call('search')} --resume {quoted(folder)}")
        with open_study(folder, plan) as study:
            for line in [*lines, f"folder   {folder}"]:
                study.run.say(line)
            code = train_trials(study)
            _show_trials(study, data)
            if code == INTERRUPTED:
                study.run.say(f"stopped  continue with: {args.watch.command}")
            else:
                elsewhere = f"; {n} more in another process" if (n := study.elsewhere()) else ""
                study.run.say(f"done     {folder}{elsewhere}")
            return code


def search_to_run(args: Namespace) -> tuple[Path | None, search.Plan]:
    """The folder to continue in, and the plan."""
    names = search.Plan.__dataclass_fields__ | Config.__dataclass_fields__
    own = {name: value for name, value in vars(args).items() if name in names}
    if args.resume is None:
        check_name(Path(args.output), args.name)
        defaults = search.Plan(Config(**search.DEFAULTS)).as_dict()
        plan = search.Plan.from_dict({**defaults, **own})
        check_settings(plan.config)
        return None, plan
    check_no_place(args.name, changed_flags(args, "output").get("output"), "search")
    folder = Path(args.resume)
    settings = search.read_plan(folder).as_dict()
    if changed := [name for name in own if name not in search.FREE_ON_RESUME and own[name] != settings[name]]:
        flags = ", ".join("--" + name.replace("_", "-") for name in changed)
        raise UsageError(f"{folder}: a resumed search keeps its settings, leave out {flags} (or start a new search)")
    return folder, search.Plan.from_dict({**settings, **own})


def _train_trials(
    study: Study | None,
    config: Config,
    needed: int,
    xp: ModuleType,
    comm: Communicator,
    new_trainer: Callable[[Config], Trainer],
) -> int:
    """Trains this rank's share of the trials; 0, or INTERRUPTED. Only rank 0 has the study."""
    say = show if study is None else study.run.say
    bar, interruption = ProgressBar(), Interruption()

    def train(config: Config) -> tuple[list[dict[str, Any]], bool]:
        trainer = new_trainer(config)
        trainer.callbacks += [Harmless(bar, say), interruption]
        try:
            return search.train_trial(trainer)
        finally:
            bar.close()

    try:
        with stopped_by_signals(interruption.stop), memory_guarded(config, needed, xp):
            for row in run_trials(study, config, train, comm):
                others = comm.size - 1 + study.elsewhere()
                say(search.trial_line(row, study.write_table(), study.plan.trials, others))
    except StopRequested:
        return INTERRUPTED
    return 0


def _show_trials(study: Study, data: Data) -> None:
    """Shows the five best trials on the screen, and all of them in the figure."""
    from minidl.training.study import KEPT
    from minidl.visual.search_plots import save_search

    if not (rows := study.write_table()):
        return
    best = [
        (f"trial {row['trial']}", f"{row['lr']:.2e}", f"{row['weight_decay']:.2e}", f"{100 * row['val_top1']:.2f} %")
        for row in search.best_trials(rows, 5)
    ]
    for line in align([("the best", "lr", "weight decay", "val top-1"), *best], left=1).splitlines():
        study.run.say(line)
    config = study.plan.config
    of = f"{len(data.train):,} images of {data.dataset.name}, {counted(config.epochs, 'epoch')}"
    title = f"{counted(len(rows), 'trial')} of {config.model} on {of}"
    say, path = study.run.say, study.run.path / "figures" / "search.png"
    if attempt(say, path.name, lambda: save_search(study.run.folder("figures") / path.name, rows, title), KEPT):
        say(f"wrote {path}")


def _add_search_flags(parser: Parser) -> None:
    add_config_flags(parser, NOT_OF_A_TRIAL, search.DEFAULTS)
    for name, what in (("lr", "learning rates"), ("weight_decay", "weight decays")):
        low, high = search.RANGES[name]
        parser.add_argument(
            "--" + name.replace("_", "-"), nargs=2, metavar=("LOW", "HIGH"), type=positive, default=SUPPRESS,
            help=f"{what}, drawn log-uniformly between these (default {low:g} {high:g}, ours: the paper gives none)",
        )  # fmt: skip
    parser.add_argument("--trials", type=count, default=SUPPRESS, help=f"how many, in all (default {search.TRIALS})")
    parser.add_argument(
        "--sampler", choices=search.SAMPLERS, default=SUPPRESS,
        help="how settings are drawn: random, tpe (Bayesian), qmc (evenly spread) (default random)",
    )  # fmt: skip
    output = "where search folders go (default runs)"
    parser.add_argument("--output", type=place, default="runs", metavar="DIR", help=output)
    parser.add_argument("--name", type=folder_name, help="name of the search folder (default: time and `search`)")
    parser.add_argument("--resume", metavar="FOLDER", help="continue this search, or join it while it runs")


SEARCH = Command(search_settings, _add_search_flags, share=True)
