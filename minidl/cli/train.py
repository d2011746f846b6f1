"""The command `train`: a run from its settings to its folder."""

from __future__ import annotations

from argparse import Namespace
from contextlib import ExitStack, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from minidl.backend.arrays import memory_report
from minidl.cli.boundary import INTERRUPTED
from minidl.cli.common import check_memory, describe, memory_guarded, memory_here, seed_and_engine, stopped_by_signals
from minidl.cli.flags import (
    add_config_flags,
    add_preset_flag,
    changed_flags,
    folder_name,
    given_settings,
    place,
)
from minidl.cli.own_functions import plugged_in, solved_in, training_settings
from minidl.cli.parser import Command, Parser
from minidl.data.fingerprint import fingerprint
from minidl.diagnostics.summary import summary
from minidl.errors import MinidlError, UsageError
from minidl.models import build
from minidl.parallel.cores import ranks_in_words
from minidl.parallel.step import check_batch
from minidl.parallel.watch import Watch
from minidl.parallel.world import launched, world
from minidl.storage.validate import blamed
from minidl.text.calls import call, quoted
from minidl.text.console import print_lines
from minidl.text.plural import counted
from minidl.training import resume, session, together
from minidl.training.callbacks import Checkpointer, Harmless, Interruption, StopRequested, attempt
from minidl.training.checkpoints import Checkpoint, load_checkpoint
from minidl.training.config import KEPT_ON_RESUME, Config, make_config
from minidl.training.execution import one_blas_thread, training_bytes
from minidl.training.folders import check_name, check_no_place
from minidl.training.loggers import Logging
from minidl.training.network import initialise_from, make_model, other_network
from minidl.training.reports import ProgressBar, Records
from minidl.training.run_data import Data
from minidl.training.runs import Run
from minidl.training.tensorboard import EventFile, Pictures, import_tensorboard
from minidl.training.trainer import Trainer


def train(args: Namespace) -> int:
    """Trains a network and writes a run folder; without flags, the refined net on `shapes`."""
    comm = world()  # of one process, unless a launcher has started several: then rank 0 reads and writes all files
    with ExitStack() as stack:
        run, checkpoint, config = _begin(args, stack) if comm.rank == 0 else (None, None, None)
        run, config = together.same_run(comm, run), together.same_config(comm, config)
        checkpoint = together.same_checkpoint(comm, checkpoint)
        if config.log == "tensorboard" and comm.rank == 0:
            import_tensorboard()
        check_batch(config.batch_size, comm.size, config.exact)
        plugs = solved_in(args.exercises) if args.exercises else None
        if run and not given_settings(args).keys() & {"data", "backend", "tf32"}:  # else these may be to blame
            stack.enter_context(blamed(run.path / "config.json"))
        stack.enter_context(one_blas_thread())
        data = together.same_data(comm, lambda: resume.load_data(config, run, checkpoint))
        changes = []
        if run and comm.rank == 0:  # before the trainer, which would find fault with the checkpoint
            instead = f"start a new run (--init-from {quoted(run.path)} takes over its weights)"
            changes = resume.changes(run, data.dataset, instead)
        model = make_model(config, data, build)
        part = -(-config.batch_size // comm.size)  # of the batch, for a rank
        costs = summary(model, (part, *data.dataset.image_shape))
        trainer = session.make_trainer(config, data, model, checkpoint, comm)
        needed = memory_here(training_bytes(config, costs.memory), comm, trainer.xp)
        lines = describe(config, data, costs, needed)
        length = f"{counted(config.epochs, 'epoch')} of {counted(len(trainer.train), 'step')}"
        lines.append(
            f"training {length}, {config.optimizer}, {config.schedule} "
            f"lr {config.lr:g}, weight decay {config.weight_decay:g}, {seed_and_engine(config)}"
        )
        lines += ranks_in_words(comm, config.threads)
        if config.init_from and checkpoint is None:
            source = together.same_start(comm, config)
            new = initialise_from(trainer.model, source, data.dataset.classes)
            lines.append(f"start    weights of {source.path}" + (f", new: {', '.join(new)}" if new else ""))
            lines += other_network(config, source)
        lines += changes
        resumed = _where_resumed(args, run, checkpoint, trainer)
        if args.dry_run:
            print_lines(*lines, *resumed)
        check_memory(config, needed, trainer.xp)
        if args.dry_run:
            return 0
        if comm.rank == 0:
            run = _furnish(args, stack, run, config, data)
        run = together.same_run(comm, run)
        own = f" --with {quoted(args.exercises)}" if args.exercises else ""
        args.watch.again(f"{call('train')} --resume {quoted(run.path)}{own}")
        for line in [*lines, f"run      {run.path}", *resumed]:
            run.say(line)
        if plugs:
            stack.enter_context(plugged_in(plugs, trainer, config, run))
        return _train(trainer, run, config, data, needed, args.watch)


def _where_resumed(args: Namespace, run: Run | None, checkpoint: Checkpoint | None, trainer: Trainer) -> list[str]:
    """The line about it; none for a new run. (`run` is None on ranks that write nothing.)"""
    if args.resume is None or run is None:
        return []
    if checkpoint is None:
        return [f"resumed  {run.path} from the beginning: it has no checkpoint"]
    state = trainer.state
    if trainer.done:
        return [f"resumed  {checkpoint.path} after epoch {state.epoch}, step {state.step}: nothing is left to do"]
    return [f"resumed  {checkpoint.path} at epoch {state.epoch + 1}, batch {state.batch}, step {state.step}"]


def _begin(args: Namespace, stack: ExitStack) -> tuple[Run | None, Checkpoint | None, Config]:
    """The settings of a new run; or the run that is resumed, its checkpoint and its settings."""
    if args.exercises and launched() > 1:
        raise UsageError("--with trains in one process: leave out mpiexec")
    if args.resume is None:
        check_name(Path(args.output), args.name)
        return None, None, make_config(args.preset or "quick", training_settings(args))
    output = None if args.resume == "auto" else changed_flags(args, "output").get("output")  # where auto looks
    check_no_place(args.name, output, "run")
    run, file = resume.find_run(args.resume, Path(args.output))
    if not args.dry_run:
        stack.enter_context(run.owned())
    checkpoint = load_checkpoint(file) if file.is_file() else None
    if checkpoint:
        resume.restore_times(run, checkpoint.state)
    config = resume.settings(run, training_settings(args), args.preset)
    if args.exercises and config.engine != "plain":
        raise UsageError(
            f"{run.path}: its engine is {config.engine}, and --with trains in the plain one: start a new run"
        )
    return run, checkpoint, config


def _furnish(args: Namespace, stack: ExitStack, run: Run | None, config: Config, data: Data) -> Run:
    """The folder of a new run; or that of a resumed one, whose next command finds the settings that are kept."""
    if run is None:
        run = Run.create(Path(args.output), args.name, config, fingerprint(data.dataset))
        stack.enter_context(run.owned())
    else:
        saved = run.config()
        kept = replace(saved, **{name: getattr(config, name) for name in KEPT_ON_RESUME})
        if kept != saved:
            run.write_config(kept)
    return run


def _train(trainer: Trainer, run: Run, config: Config, data: Data, needed: int, watch: Watch) -> int:
    bar, interruption = ProgressBar(), Interruption(watch.comm)
    checkpointer = Checkpointer(
        run, session.about(config, data), config.checkpoint_minutes, config.snapshot_epochs, config.keep
    )
    records = Records(run, f"{config.model} on {data.dataset.name}", _draw_history)
    if watch.comm.rank == 0:
        trainer.callbacks += [checkpointer, Harmless(bar, run.say), *_loggers(trainer, run, config), records]
        if trainer.state.history:
            records.write(trainer.state.history)  # a killed run may have saved an epoch that it had not yet recorded
    trainer.callbacks.append(interruption)
    try:
        with stopped_by_signals(interruption.stop), memory_guarded(config, needed, trainer.xp):
            with suppress(StopRequested):
                trainer.fit()
            if watch.comm.rank == 0:
                checkpointer.close(trainer)
    except MinidlError as error:
        good = run.checkpoint()
        raise type(error)(f"{error}; last good checkpoint: {good if good.is_file() else 'none yet'}") from None
    finally:
        attempt(run.say, "ProgressBar", bar.close)
    if interruption.stopped and not trainer.done:
        run.say(f"stopped  continue with: {watch.command}")
        return INTERRUPTED
    if report := memory_report(trainer.xp):
        run.say(f"memory   {report}")
    state = trainer.state
    if state.epoch < config.epochs:
        patience = counted(config.patience, "epoch")
        run.say(f"patience no better val top-1 for {patience}: ended after {state.epoch} of {config.epochs}")
    run.say(
        f"done     best val top-1 {100 * state.best_top1:.2f} % in epoch {state.best_epoch}, "
        f"{state.seconds:.0f} s; {run.path}"
    )
    return 0


def _loggers(trainer: Trainer, run: Run, config: Config) -> list[Harmless]:
    """The callbacks of --log tensorboard. If no event file can be made, a line says so and there are none."""
    found: list[Harmless] = []

    def make() -> None:
        from minidl.visual.picture import picture  # slow to import

        events = EventFile(run.path, trainer.state.step)
        found[:] = (
            Logging(events, say=run.say),
            Harmless(Pictures(events, config.as_dict(), partial(picture, tile=64)), run.say, "EventFile"),
        )

    if config.log == "tensorboard":
        attempt(run.say, "EventFile", make)
    return found


def _draw_history(path: Path, history: list[dict[str, Any]], title: str) -> None:
    from minidl.visual.figures import save_history  # matplotlib is slow to import

    save_history(path, history, title)


def _add_flags(parser: Parser) -> None:
    add_preset_flag(parser)
    add_config_flags(parser)
    output = "where run folders go (default runs)"
    parser.add_argument("--output", type=place, default="runs", metavar="DIR", help=output)
    parser.add_argument("--name", type=folder_name, help="name of the run folder (default: time and model)")
    parser.add_argument(
        "--resume", nargs="?", const="auto", metavar="RUN", help="continue this run (auto: the newest in --output)"
    )
    exercises = "train with the functions that you have written in this folder of exercises (`minidl learn`)"
    parser.add_argument("--with", dest="exercises", metavar="DIR", type=place, help=exercises)
    parser.add_argument("--dry-run", action="store_true", help="print what would be done, and stop")


TRAIN = Command(train, _add_flags, share=True)
