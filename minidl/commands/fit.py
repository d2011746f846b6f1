"""`train.py fit`: a run from its settings to its folder."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import minidl
from minidl.backend import memory_report
from minidl.cli import INTERRUPTED
from minidl.commands.common import check_memory, describe, given, guarded, how, memory_guarded
from minidl.errors import DivergedError, OutOfMemoryError, UsageError
from minidl.training import session
from minidl.training.callbacks import Checkpointer, ProgressBar, Records, StopRequested
from minidl.training.checkpoints import load_checkpoint
from minidl.training.config import FREE_ON_RESUME, Config, make_config
from minidl.training.runs import Run, find_checkpoint, newest_run
from minidl.training.trainer import Trainer


def fit(args: Namespace) -> int:
    """Trains a network and leaves a run folder; without flags, the refined net on `shapes`."""
    settings = given(args)
    run = _run_to_resume(args)
    config = _resumed_config(run, settings, args.preset) if run else make_config(args.preset or "quick", settings)
    with session.blas_threads(config):
        checkpoint = load_checkpoint(run.checkpoint()) if run and run.checkpoint().is_file() else None
        data = session.load_data(config)
        model = session.make_model(config, data, args.models.build)
        summary = minidl.summary(model, (config.batch_size, *data.dataset.image_shape))
        trainer = session.make_trainer(config, data, model, checkpoint)
        needed = session.training_bytes(config, summary.memory)
        lines = describe(config, data, summary, needed)
        lines.append(
            f"training {config.epochs} epochs of {len(trainer.train)} steps, {config.optimizer}, {config.schedule} "
            f"lr {config.lr:g}, weight decay {config.weight_decay:g}, {how(config)}"
        )
        if config.init_from and checkpoint is None:
            source = load_checkpoint(find_checkpoint(Path(config.init_from)))
            new = session.initialise_from(trainer.model, source, data.dataset.classes)
            lines.append(f"start    weights of {source.path}" + (f", new: {', '.join(new)}" if new else ""))
        if args.dry_run:
            print("\n".join(lines))
            return 0
        check_memory(config, needed, trainer.xp)
        if run is None:
            run = Run.create(Path(args.output), args.name, config)
        for line in [*lines, f"run      {run.path}"]:
            run.say(line)
        if checkpoint is not None:
            state = trainer.state
            run.say(f"resumed  {run.checkpoint()} at epoch {state.epoch + 1}, batch {state.batch}, step {state.step}")
        return _train(trainer, run, config, data, needed)


def _train(trainer: Trainer, run: Run, config: Config, data: session.Data, needed: int) -> int:
    bar = ProgressBar()
    checkpointer = Checkpointer(
        run, session.about(config, data), config.checkpoint_minutes, config.snapshot_epochs, config.keep
    )
    trainer.callbacks += [bar, Records(run, f"{config.model} on {data.dataset.name}"), checkpointer]
    try:
        with guarded(checkpointer.stop), memory_guarded(config, needed, trainer.xp):
            trainer.fit()
    except StopRequested:
        run.say(f"stopped  go on with: python train.py --resume {run.path}")
        return INTERRUPTED
    except (DivergedError, OutOfMemoryError) as error:
        good = run.checkpoint()
        raise type(error)(f"{error}; last good checkpoint: {good if good.is_file() else 'none yet'}") from None
    finally:
        bar.close()
    if report := memory_report(trainer.xp):
        run.say(f"memory   {report}")
    state = trainer.state
    run.say(
        f"done     best val top-1 {100 * state.best_top1:.2f} % in epoch {state.best_epoch}, "
        f"{state.seconds:.0f} s; {run.path}"
    )
    return 0


def _run_to_resume(args: Namespace) -> Run | None:
    if args.resume is None:
        return None
    if args.resume == "auto":
        path = newest_run(Path(args.output))
        return Run.open(path) if path else None
    path = Path(args.resume)
    return Run.open(path.parent.parent if path.is_file() else path)


def _resumed_config(run: Run, given: dict, preset: str | None) -> Config:
    saved = run.config().as_dict()
    changed = [f for f in given if f not in FREE_ON_RESUME and given[f] != saved[f]]
    if changed or preset:
        names = ", ".join("--" + f.replace("_", "-") for f in changed) or "--preset"
        raise UsageError(f"{run.path}: a resumed run keeps its settings, leave out {names} (or start a new run)")
    return Config(**{**saved, **given})
