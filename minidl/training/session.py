"""From settings, data and a network to a trainer that is ready to run."""

from __future__ import annotations

from minidl.errors import DataError, UsageError
from minidl.layers import Layer
from minidl.layers.heads import has_side_heads, last_leaves
from minidl.layers.parameter import FROZEN
from minidl.losses import CrossEntropy, SideHeads, balanced_weights
from minidl.losses.protocol import Loss
from minidl.optim import Optimizer, get_optimizer
from minidl.parallel.communicator import ALONE, Communicator
from minidl.parallel.runner import RankRunner
from minidl.parallel.share import Share
from minidl.parallel.step import DataParallel
from minidl.parallel.world import for_device
from minidl.schedules import Schedule, make_schedule
from minidl.training.averaging import WeightAverage
from minidl.training.batches import train_loader
from minidl.training.checkpoints import About, Checkpoint
from minidl.training.config import Config
from minidl.training.execution import engine_of, on_engine
from minidl.training.run_data import Data, check_classes
from minidl.training.trainer import Trainer


def make_trainer(
    config: Config, data: Data, model: Layer, resume: Checkpoint | None = None, comm: Communicator = ALONE
) -> Trainer:
    """A trainer of `model`, with the engine, optimizer, schedule and loaders of `config`, on the ranks of `comm`.

    It continues from the checkpoint `resume` if given. Raises BackendError if the backend can't be used, UsageError
    if the ranks can't share the batches of `config`.
    """
    share, runner = Share(comm), None
    if config.exact or (config.sync_bn and comm.size > 1):
        runner = RankRunner(config.threads, share, config.exact)
    model, xp = on_engine(model, config, config.freeze, runner)
    if config.exact and engine_of(config) != "fused":
        raise UsageError("--exact needs the fused engine: --engine fused, on NumPy")
    share.comm = for_device(comm, xp)
    optimizer = make_optimizer(config, model)
    train = train_loader(config, data)
    average = WeightAverage(model, config.ema) if config.ema else None
    parallel = None
    if config.exact or comm.size > 1:
        parallel = DataParallel(model, share, sync_bn=config.sync_bn, exact=config.exact)
    if resume is not None:
        check_classes(resume, data.dataset)
        check_progress(resume, config.epochs, len(train))
        if average is None:
            resume.restore_weights(model)
        else:
            resume.restore_average(average)
        resume.restore_optimizer(optimizer)
    loss = make_loss(config, data, model)
    return Trainer(
        model,
        optimizer,
        config_schedule(config, len(train)),
        train,
        data.loader(data.val, workers=config.workers),
        epochs=config.epochs,
        loss=loss,
        label_smoothing=config.label_smoothing if loss is None else 0.0,
        patience=config.patience,
        seed=config.seed,
        xp=xp,
        average=average,
        parallel=parallel,
        state=None if resume is None else resume.state,
    )


def check_progress(checkpoint: Checkpoint, epochs: int, steps: int) -> None:
    """Raises DataError unless the checkpoint's position is within `epochs` epochs of `steps` steps."""
    state = checkpoint.state
    if state.epoch > epochs or state.batch > steps or state.step != state.epoch * steps + state.batch:
        raise DataError(
            f"{checkpoint.path}: state.epoch {state.epoch}, batch {state.batch} and step {state.step} are not within "
            f"{epochs} epochs of {steps} steps"
        )


def make_loss(config: Config, data: Data, model: Layer) -> Loss | None:
    """The loss of `config`, over all heads of `model`; None for softmax_cross_entropy of one head."""
    weights = None
    if config.class_weights == "balanced":
        weights = balanced_weights(data.train.labels, len(data.dataset.classes))
    several = has_side_heads(model)
    if weights is None and not several:
        return None
    loss = CrossEntropy(weights, config.label_smoothing)
    return SideHeads(loss) if several else loss


def make_optimizer(config: Config, model: Layer) -> Optimizer:
    """The optimizer of `config` for all Parameters that aren't frozen; those of the last layer, and of the last
    one of each side head, form a group.
    """
    options = {"momentum": config.momentum, "nesterov": config.momentum > 0} if config.optimizer == "sgd" else {}
    for layer in last_leaves(model):
        for p in layer.params.values():
            p.tags |= {"head"}
    learning = {name: p for name, p in model.named_parameters().items() if FROZEN not in p.tags}
    groups = {} if config.decay_all else {tag: {"weight_decay": 0.0} for tag in ("norm", "bias")}
    groups["head"] = {"lr_scale": config.head_lr}
    rule = get_optimizer(config.optimizer)
    options["clip_norm"] = config.clip_norm or None
    return rule(learning, config.lr, weight_decay=config.weight_decay, groups=groups, **options)


def config_schedule(config: Config, steps_per_epoch: int) -> Schedule:
    """The learning rate of `config` as a function of the step."""
    steps, drop = config.epochs * steps_per_epoch, config.drop_epoch * steps_per_epoch
    first_drop = min(steps, drop) if config.schedule == "step" else steps  # a warm-up ends before it
    return make_schedule(
        config.schedule,
        config.lr,
        steps,
        warmup_steps=min(round(config.warmup_epochs * steps_per_epoch), first_drop - 1),
        drop_steps=[drop],
    )


def about(config: Config, data: Data) -> About:
    """What checkpoints of this run say about their model."""
    return About(
        model=config.model,
        classes=data.dataset.classes,
        words=data.dataset.words,
        image_shape=list(data.dataset.image_shape),
        mean=data.mean.tolist(),
        std=data.std.tolist(),
        config=config.as_dict(),
    )
