"""What the arguments of a Trainer must be: wrong ones are refused before the first step."""

from __future__ import annotations

from inspect import signature
from typing import Any

import numpy as np

from minidl.data.loader import Loader
from minidl.errors import UsageError
from minidl.kernels.shapes import require_numbers
from minidl.layers.base import Layer
from minidl.layers.heads import has_side_heads
from minidl.layers.parameter import FROZEN
from minidl.losses.protocol import Loss
from minidl.optim import Optimizer
from minidl.parallel.step import DataParallel, least_batch
from minidl.storage.weights import model_arrays
from minidl.text.plural import counted
from minidl.training.averaging import WeightAverage

EVENTS = ("on_step", "on_evaluation_batch", "on_epoch")  # the methods of a callback


def check(
    model: Any, optimizer: Any, schedule: Any, train: Any, val: Any, epochs: Any, loss: Any, callbacks: Any
) -> None:
    """Raises UsageError for an argument of the Trainer that is another thing, with what is meant."""
    loader = "a Loader, of arrays Loader((images, labels), 32, ...)"
    for name, value, fits, meant in (
        ("model", model, isinstance(model, Layer), "a layer, such as a Sequential"),
        (
            "optimizer",
            optimizer,
            isinstance(optimizer, Optimizer),
            "Adam(model.named_parameters(), lr=1e-3) or another one",
        ),
        (
            "schedule",
            schedule,
            _takes(schedule, 1) and not isinstance(schedule, Layer | type),
            "the rate as a function of the step, such as schedules.constant(1e-3)",
        ),
        ("train", train, hasattr(train, "epoch"), loader),
        ("val", val, hasattr(val, "epoch"), loader),
        ("epochs", epochs, isinstance(epochs, int | np.integer), "a whole number"),
        (
            "loss",
            loss,
            loss is None or (_takes(loss, 2) and not isinstance(loss, Layer | type)),
            "a function (logits, labels) -> (loss, dlogits)",
        ),
        ("callbacks", callbacks, isinstance(callbacks, list | tuple), "a list of them"),
    ):
        if not fits:
            kind = "class" if isinstance(value, type) else type(value).__name__
            raise UsageError(
                f"Trainer(model, optimizer, schedule, train, val, epochs=...): {name} is a {kind}: give {meant}"
            )
    held = {id(p) for p in optimizer.params.values()}
    learning = {name: p for name, p in model.named_parameters().items() if FROZEN not in p.tags}
    if missing := [name for name, p in learning.items() if id(p) not in held]:
        raise UsageError(
            f"Trainer: the optimizer doesn't have {len(missing)} of the model's {len(learning)} parameters, such as "
            f"{missing[0]}: make it from model.named_parameters() of this model, after convert or a new layer; "
            "minidl.freeze keeps layers from learning"
        )
    _heads(model, loss)
    _labels(val, "val", "evaluation needs them all: leave these images out")
    if loss is None:
        _labels(
            train, "train", "this loss needs them all: give loss=minidl.losses.CrossEntropy(), which ignores these"
        )
    _callbacks(callbacks)


def check_rest(model: Layer, label_smoothing: Any, xp: Any, average: Any, parallel: Any, state: Any) -> None:
    """The same for the arguments that may be left out."""
    require_numbers("Trainer", label_smoothing=label_smoothing)
    if not 0 <= label_smoothing <= 1:
        raise UsageError(f"Trainer: label_smoothing is {label_smoothing}: choose a number from 0 to 1")
    for name, value, fits, meant in (
        ("xp", xp, hasattr(xp, "asarray"), "the module of the model's arrays, numpy or cupy"),
        ("average", average, isinstance(average, WeightAverage | None), "WeightAverage(model, 0.999)"),
        ("parallel", parallel, isinstance(parallel, DataParallel | None), "a DataParallel"),
        ("state", state, state is None or hasattr(state, "best_epoch"), "the TrainState of a checkpoint"),
    ):
        if not fits:
            raise UsageError(f"Trainer: {name} is {value!r:.60}: give {meant}")
    if average is not None and {id(a) for a in average.trained.values()} != {
        id(a) for a in model_arrays(model).values()
    }:
        raise UsageError("Trainer: the average is of another model: WeightAverage(model, decay) of this one")


def _takes(function: Any, arguments: int) -> bool:
    """Whether it can be called with so many arguments, as far as it says."""
    try:
        signature(function).bind(*range(arguments))
    except TypeError:  # also of what is no function
        return False
    except ValueError:  # some of C don't say
        return True
    return True


def _heads(model: Layer, loss: Loss | None) -> None:
    if loss is None and has_side_heads(model):
        raise UsageError(
            "Trainer: in training the model gives the scores of several heads: give loss=minidl.losses.SideHeads(), "
            "which adds up their losses, or SideHeads(CrossEntropy(...))"
        )


def _labels(loader: Any, name: str, hint: str) -> None:
    """Raises UsageError if the split of `loader` is known, and an image in it has no label."""
    split = getattr(loader, "split", None)
    if not hasattr(split, "labels"):
        return
    unlabelled = len(split) if split.labels is None else int((np.asarray(split.labels) < 0).sum())
    if unlabelled:
        raise UsageError(f"Trainer: {unlabelled} of the {len(split)} images of {name} have no label, and {hint}")


def _callbacks(callbacks: Any) -> None:
    for callback in callbacks:
        if not isinstance(callback, type) and all(callable(getattr(callback, event, None)) for event in EVENTS):
            continue
        kind = "the class " + callback.__name__ if isinstance(callback, type) else f"a {type(callback).__name__}"
        meant = "minidl.Logging(it)" if hasattr(callback, "log") else "a subclass of minidl.training.trainer.Callback"
        raise UsageError(f"Trainer: one of the callbacks is {kind}: give {meant}")


def check_batches(parallel: DataParallel, train: Loader) -> None:
    """Raises UsageError if the ranks can't share each batch, the last one of an epoch too."""
    parallel.require(train.images_of(0))
    last, least = train.images_of(len(train) - 1), least_batch(parallel.comm.size, parallel.exact)
    if last < least:
        raise UsageError(
            f"the last batch of an epoch has {counted(last, 'image')}, and the ranks can share {least} or more: "
            "Loader(..., drop_last=True) leaves it out"
        )
