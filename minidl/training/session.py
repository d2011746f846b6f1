"""From settings to a trainer that is ready to run, or to a saved model that is ready to use."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, fields, replace
from itertools import zip_longest
from pathlib import Path
from types import ModuleType

import numpy as np
from threadpoolctl import threadpool_limits

from minidl.data import (
    HELD_OUT,
    NO_VAL,
    Dataset,
    Loader,
    OnlineAugment,
    PaperAugment,
    channel_statistics,
    load_dataset,
    only_classes,
    split_off,
    subset,
)
from minidl.data.base import Split
from minidl.data.crops import stretched_first
from minidl.data.loader import Augment
from minidl.data.naming import SHAPES, stem
from minidl.data.subset import choose_classes
from minidl.diagnostics.cost import TrainingMemory
from minidl.engine import prepare
from minidl.engine.tiles.grid import SHARDS
from minidl.engine.tiles.runner import TileRunner, available_cores
from minidl.errors import DataError, ShapeError, UsageError
from minidl.layers import Layer, freeze
from minidl.layers.convert import convert
from minidl.layers.heads import has_side_heads, last_leaves
from minidl.layers.parameter import FROZEN
from minidl.losses import CrossEntropy, SideHeads, balanced_weights
from minidl.losses.protocol import Loss
from minidl.optim import Optimizer, get_optimizer
from minidl.parallel.communicator import ALONE, Communicator
from minidl.parallel.runner import RankRunner
from minidl.parallel.share import Share
from minidl.parallel.step import DataParallel
from minidl.parallel.world import backend_of_rank, for_device
from minidl.schedules import Schedule, make_schedule
from minidl.storage.validate import blamed
from minidl.text.calls import call
from minidl.training.averaging import WeightAverage
from minidl.training.checkpoints import About, Checkpoint
from minidl.training.config import Config, network_in_words, of_network
from minidl.training.runs import Run, run_folder
from minidl.training.trainer import Trainer

STATISTICS_IMAGES = 1000  # enough for mean and deviation if every image has to be drawn first
EVAL_BATCH = 100
# Stretching blurs: a network that is trained on stretched images to the end is worse on whole ones.
STRETCHED = 0.85  # of the epochs
TINY_IMAGENET = "tiny-imagenet-200"  # what the command `download` fetches
IMPORTED = "imported"  # the data set's name in a checkpoint of `import-torch`

BuildModel = Callable[..., Layer]  # (name, classes=, seed=, and the settings of_network) -> model


@dataclass
class Data:
    """The splits as a run uses them, and their normalization."""

    dataset: Dataset
    train: Split
    val: Split
    mean: np.ndarray
    std: np.ndarray

    extent: dict[str, str] = field(default_factory=dict)  # what part of the data set a split is, where it is a part

    def split(self, name: str) -> Split:
        """The split called "train", "val" or "test"; UsageError if there is none, or if it has no images."""
        found = self.dataset.test if name == "test" else getattr(self, name)
        if found is None or len(found) == 0:
            raise UsageError(f"{self.dataset.name} has no {name} images")
        return found

    def loader(self, split: Split, batch_size: int = EVAL_BATCH, workers: int = 1) -> Loader:
        """The images of `split` once, in order, without dropping any."""
        return Loader(
            split, batch_size, mean=self.mean, std=self.std, shuffle=False, drop_last=False, workers=workers
        )


def load_data(config: Config, progress: bool = True) -> Data:
    """The data set of `config`, with its subset, held-out split, paper augmentation and statistics."""
    dataset = _open(config, progress)
    if config.classes:
        dataset = only_classes(dataset, config.classes)
    train, val = _parts(dataset, config)
    if len(val) == 0:
        raise UsageError(f"{dataset.name} has no val images: give other --classes, or --val-split")
    if len(lost := np.setdiff1d(np.arange(len(dataset.classes)), train.labels)):
        name = dataset.classes[lost[0]]
        raise UsageError(
            f"{dataset.name}: all training images of class {name} are gray, nothing is left with --gray skip"
        )
    drawn = getattr(train, "sums", None) is None
    some = np.arange(min(len(train), STATISTICS_IMAGES)) if drawn else None
    mean, std = channel_statistics(train, some)
    if config.augment == "paper":
        train = PaperAugment(train, config.seed)
    return Data(dataset, train, val, mean, std, _extent(dataset, config))


def _open(config: Config, progress: bool) -> Dataset:
    return load_dataset(
        config.data,
        gray=config.gray,
        image_size=config.image_size,
        seed=config.seed,
        held_out=config.val_split or HELD_OUT,
        progress=progress,
    )


def without_val(dataset: Dataset) -> bool:
    """Whether the data set has no val, so that a part of train was held out when it was opened."""
    return NO_VAL in dataset.notes


def _parts(dataset: Dataset, config: Config) -> tuple[Split, Split]:
    """(train, val) as a run of `config` uses them."""
    train, val = dataset.train, dataset.val
    if config.val_split and not without_val(dataset):
        train, val = split_off(train, config.val_split, config.seed, dataset.classes)
    if config.subset < 1:
        train, val = (subset(split, config.subset, config.seed) for split in (train, val))
    return train, val


def _extent(dataset: Dataset, config: Config) -> dict[str, str]:
    """Which part of the data set train and val are, in words."""
    held_out = config.val_split or (HELD_OUT if without_val(dataset) else 0)
    some = f"{100 * config.subset:g} % of " if config.subset < 1 else ""
    train = f"train without the {100 * held_out:g} % held out" if held_out else "train"
    val = f"{100 * held_out:g} % of train, held out" if held_out else "val"
    return {name: some + part for name, part in (("train", train), ("val", val)) if some + part != name}


def make_model(config: Config, data: Data, build: BuildModel) -> Layer:
    """The plain network of `config` with new weights; ShapeError if the images don't fit it."""
    model = build(config.model, classes=len(data.dataset.classes), seed=config.seed, **of_network(config.as_dict()))
    size, _, channels = data.dataset.image_shape
    for side in (size, first_size(config, data)):
        try:
            model.out_shape((config.batch_size, side, side, channels))
        except ShapeError as error:
            raise ShapeError(f"images of {side}x{side} pixels don't fit {config.model}: {error}") from None
    return model


@dataclass(frozen=True)
class Execution:
    """How a network is run, where no training says it (a Config has the same fields)."""

    engine: str = "fused"  # or "plain"
    backend: str = "numpy"  # or "cupy"
    tf32: bool = False
    threads: int = 0  # of the fused engine; 0: all cores


def engine_of(settings: Config | Execution) -> str:
    """The engine that the settings lead to: on a GPU it is always plain."""
    return settings.engine if settings.backend == "numpy" else "plain"


def on_engine(
    model: Layer, settings: Config | Execution, frozen: str | None = None, runner: TileRunner | None = None
) -> tuple[Layer, ModuleType]:
    """The plain `model` on the engine and backend of `settings`, its layers up to `frozen` as they are, and the array
    module of the backend. `runner`: for the fused engine, if it isn't one for `settings.threads`.

    Raises BackendError if the backend can't be used, UsageError if it has no TF32 and that was asked for.
    """
    xp = backend_of_rank(settings.backend, settings.tf32)
    if xp is not np:
        model = convert(model, xp=xp)
    if frozen:
        model = freeze(model, frozen)
    return (prepare(model, settings.threads, runner) if engine_of(settings) == "fused" else model), xp


def one_blas_thread() -> threadpool_limits:
    """Holds BLAS at one thread while it is open, with either engine.

    BLAS rounds differently with another number of threads, and so would plain layers. They lose nothing by it: a
    training step makes 37 images/s on one thread, 35 on two. The fused engine has threads of its own.
    """
    return threadpool_limits(1)


def training_bytes(config: Config, memory: TrainingMemory) -> int:
    """The memory that training adds to a process, on the engine of `config`.

    On a GPU this counts the arrays alone. The patches of a convolution come on top (an eighth more for the refined
    net), and what CuPy's pool wastes, which has not been measured.
    """
    if config.backend != "numpy":
        return memory.arrays
    if engine_of(config) == "plain":
        return memory.resident
    return memory.fused(min(config.threads or available_cores(), SHARDS))  # more threads find no work


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


def train_loader(config: Config, data: Data) -> Loader:
    """Shuffled, augmented, full batches."""
    return Loader(
        data.train,
        config.batch_size,
        mean=data.mean,
        std=data.std,
        seed=config.seed,
        augment=make_augment(config, data),
        workers=config.workers,
    )


def make_augment(config: Config, data: Data) -> Augment | None:
    """The random changes of the training images, which are drawn anew in each epoch."""
    if config.augment == "online":
        return OnlineAugment()
    if config.augment == "crops":
        start, final = first_size(config, data), data.dataset.image_shape[0]
        return stretched_first(config.crop_area, start, final, int(STRETCHED * config.epochs))
    return None


def first_size(config: Config, data: Data) -> int:
    """Height and width of the training images in the first epoch; UsageError if these are impossible."""
    size = data.dataset.image_shape[0]
    if not config.start_size:
        return size
    if config.augment != "crops":
        raise UsageError(
            f"--start-size {config.start_size} is for crops only: add --augment crops, or --start-size 0"
        )
    if config.start_size > size:
        raise UsageError(
            f"--start-size {config.start_size}: images of {size} pixels can't shrink to that: give fewer, "
            "or 0 for full size at once"
        )
    return config.start_size


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


def initialise_from(model: Layer, source: Checkpoint, classes: list[str]) -> list[str]:
    """Copies the weights of `source`, and returns the names of the arrays that stay new: those of the head, and of
    each side head, whose shapes depend on the classes.

    They are copied too if `source` was trained on exactly these classes, in this order. Raises DataError if
    anything else differs.
    """
    own = model.named_parameters()
    of_classes = {id(p) for layer in last_leaves(model) for p in layer.params.values()}
    same = source.about.classes == classes
    new = [] if same else [name for name, p in own.items() if id(p) in of_classes and name in source.arrays]
    arrays = {name: own[name].value if name in new else array for name, array in source.arrays.items()}
    try:
        Checkpoint(source.path, source.about, source.state, arrays).restore_weights(model)
    except DataError as error:
        theirs = network_in_words(source.about.model, source.about.config)
        raise DataError(f"{error}; the file's network is {theirs}") from error
    return new


def other_network(config: Config, source: Checkpoint) -> list[str]:
    """A line if the weights of `source` fit the network of `config`, but were learned by another one."""
    sides = [(source.about.model, source.about.config), (config.model, config.as_dict())]
    chosen = [
        {name: s.get(name) or usual for name, usual in (("stem", "small"), ("activation", "relu"))} for _, s in sides
    ]
    differ = [name for name in chosen[0] if chosen[0][name] != chosen[1][name]]
    if not differ and sides[0][0] == sides[1][0]:
        return []
    words = [network_in_words(m, {name: c[name] for name in differ}) for (m, _), c in zip(sides, chosen, strict=True)]
    return [f"warning  these weights were learned by {words[0]}, and this run trains {words[1]}"]


def saved_data(checkpoint: Checkpoint, path: str | None = None, whole: bool = False, progress: bool = True) -> Data:
    """The data set that a checkpoint was trained on (or the one at `path`), normalized as in its training.

    Its splits have the same images as in training, without augmentation; with `whole`, all images of the data set.
    Raises DataError if the data set isn't where it was, or has other classes.
    """
    about = checkpoint.about
    saved = {f.name: about.config[f.name] for f in fields(Config) if f.name in about.config}
    place = path or _place(checkpoint)
    config = replace(Config(**saved), data=place, image_size=about.image_shape[0], augment="none")
    if whole:
        config = replace(config, subset=1.0, gray="convert")
    with blamed(checkpoint.path):
        dataset = _open(config, progress)
        if whole and not without_val(dataset):
            config = replace(config, val_split=0.0)
        if config.classes and set(about.classes) <= set(dataset.classes):
            dataset = choose_classes(dataset, [dataset.classes.index(c) for c in about.classes], config.classes)
        check_classes(checkpoint, dataset)
        parts = _parts(dataset, config)
    mean, std = (np.array(v, np.float32) for v in (about.mean, about.std))
    return Data(dataset, *parts, mean, std, _extent(dataset, config))


def _place(checkpoint: Checkpoint) -> str:
    """Where the data set of a checkpoint is. An exported one stores only its name: it may be here or in data/."""
    data = _moved(checkpoint) or checkpoint.about.config["data"]
    if Path(data).name == IMPORTED and not checkpoint.state.step:
        raise DataError(f"{checkpoint.path}: imported weights, which have no data set: give --data")
    if data == SHAPES or Path(data).exists():
        return data
    if Path(data).is_absolute():
        raise DataError(f"{data}: the data set of {checkpoint.path} isn't there any more: give --data with its place")
    for folder in (Path.cwd(), Path.cwd() / "data"):
        if found := [path for path in sorted(folder.glob("*")) if stem(path) == Path(data).name]:
            return str(found[0])
    fetch = f", or fetch it with `{call('download')} data`" if Path(data).name == TINY_IMAGENET else ""
    raise DataError(f"{data}: the data set of {checkpoint.path} is neither here nor in data/: give --data{fetch}")


def _moved(checkpoint: Checkpoint) -> str | None:
    """Where the run of the checkpoint has its data now, if it has been resumed with data in another place."""
    if (folder := run_folder(checkpoint.path)) is None:
        return None
    with suppress(DataError):  # the checkpoint says it too
        return Run.open(folder).config().data
    return None


def check_classes(checkpoint: Checkpoint, dataset: Dataset) -> None:
    """Raises DataError unless the outputs of the model mean the classes of the data set."""
    trained, here = checkpoint.about.classes, dataset.classes
    for position, (there, now) in enumerate(zip_longest(trained, here, fillvalue="missing")):
        if there != now:
            raise DataError(
                f"{checkpoint.path}: trained on {len(trained)} classes, but {dataset.name} has {len(here)}: "
                f"class {position} is {there} there and {now} here"
            )


def check_progress(checkpoint: Checkpoint, epochs: int, steps: int) -> None:
    """Raises DataError unless the checkpoint's position is within `epochs` epochs of `steps` steps."""
    state = checkpoint.state
    if state.epoch > epochs or state.batch > steps or state.step != state.epoch * steps + state.batch:
        raise DataError(
            f"{checkpoint.path}: state.epoch {state.epoch}, batch {state.batch} and step {state.step} are not within "
            f"{epochs} epochs of {steps} steps"
        )
