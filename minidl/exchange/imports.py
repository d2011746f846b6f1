"""From a state dict of torch to a checkpoint of minidl."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from minidl.backend.arrays import to_host
from minidl.errors import DataError
from minidl.exchange.fit import Fit, compare
from minidl.exchange.sketch import names_of_classes, side_heads, sketch, unfilled
from minidl.exchange.torch_file import SHOWN, TorchWeights, read_weights
from minidl.layers.base import Layer
from minidl.storage.validate import blamed
from minidl.storage.weights import (
    load_torch_state_dict,
    model_arrays,
    to_torch_state_dict,
    torch_name,
    torch_shapes,
    without_prefix,
)
from minidl.training.checkpoints import About, Checkpoint
from minidl.training.config import Config, network_in_words
from minidl.training.run_data import IMPORTED
from minidl.training.trainer import TrainState

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # mean and std of nearly all weights of torchvision
# torchvision's GoogLeNet takes images normalised as IMAGENET, and normalises them once more ("transform_input"):
# x -> (x std + mean - 0.5) / 0.5, which is (pixels / 255 - 0.5) / 0.5
_HALVES = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
NORMALISATION = {"googlenet": _HALVES}
SIZE = 224  # pixels of the images of torchvision's weights


@dataclass(frozen=True)
class Networks:
    """The registered networks, as `models` has them."""

    builders: Mapping[str, Callable[..., Layer]]
    build: Callable[..., Layer]
    options_of: Callable[[str], Sequence[str]]
    values: Mapping[str, Sequence[str]]  # of each option

    def variants(self, name: str) -> Iterator[dict[str, Any]]:
        """The choices of options that change shapes. (The activation doesn't, and can't be seen in a file.)"""
        mine = [option for option in self.options_of(name) if option != "activation"]
        for values in product(*(self.values[option] for option in mine)):
            yield dict(zip(mine, values, strict=True))


@dataclass(frozen=True)
class Images:
    """The images that the weights were trained on; None is what is usual for the network."""

    size: int = SIZE
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None


@dataclass
class Imported:
    """The checkpoint, and what is worth saying about it: subjects and sentences."""

    checkpoint: Checkpoint
    notes: list[tuple[str, str]]


class MisfitError(DataError):
    """The file's arrays aren't the network's. `report` has a line for each kind of difference."""

    def __init__(self, message: str, report: list[str]) -> None:
        super().__init__(message)
        self.report = report


def import_weights(
    path: Path,
    model: str,
    networks: Networks,
    images: Images = Images(),  # noqa: B008 - it can't be changed
    names: tuple[list[str], list[str]] | None = None,
) -> Imported:
    """A checkpoint of the network `model` with the weights in a file of torch.

    names    the ids and the words of the classes; None: class0, class1, ...

    The number of classes and the stem of a residual network follow from the shapes in the file. The side heads of a
    GoogLeNet may be missing: they only help in training, and begin with new weights. Raises MisfitError if anything
    else is missing, unexpected or of another shape, DataError if the file can't be read.
    """
    found = read_weights(path)
    fit, options = best_fit(found.arrays, model, networks)
    if fit.classes < 2 and not (fit.missing or fit.unexpected):
        raise DataError(
            f"{path}: weights for {fit.classes} class{'es' * (fit.classes != 1)}, and minidl's networks have 2 or "
            "more: with torch, put a row of zeros before the one that its last layer has, in weight and bias"
        )
    if not fit.fits:
        raise MisfitError(f"{path} doesn't fit {model}: {_advice(found.arrays, model, fit, networks)}", fit.lines())
    ids, words = names or ([f"class{k}" for k in range(fit.classes)],) * 2
    if len(ids) != fit.classes:
        raise DataError(f"{path}: weights for {fit.classes:,} classes, and there are {len(ids):,} names of classes")
    if fit.left_out:
        network = networks.build(model, classes=fit.classes, **options)
        drawn = {name: a for name, a in to_torch_state_dict(network).items() if name in fit.left_out}
    else:
        network, drawn = unfilled(networks.builders[model], fit.classes, **options), {}
    with blamed(f"--image-size {images.size}"):
        network.out_shape((1, images.size, images.size, 3))
    with np.errstate(over="ignore"):  # is found below
        load_torch_state_dict(network, fit.arrays | drawn)
    arrays = {name: to_host(a) for name, a in model_arrays(network).items()}
    if bad := [name for name, a in arrays.items() if not np.isfinite(a).all()]:
        raise DataError(f"{path}: {torch_name(bad[0])} holds a weight that is not a number, or too large for float32")
    about = _about(model, options, images, ids, words)
    return Imported(Checkpoint(path, about, TrainState(), arrays), list(_notes(found, fit, about, names is None)))


def _about(model: str, options: dict[str, Any], images: Images, ids: list[str], words: list[str]) -> About:
    usual, size = NORMALISATION.get(model, IMAGENET), images.size
    mean, std = images.mean or usual[0], images.std or usual[1]
    config = Config(model=model, data=IMPORTED, image_size=size, **options).as_dict()
    return About(model, ids, words, [size, size, 3], list(mean), list(std), config)


def best_fit(arrays: Mapping[str, np.ndarray], model: str, networks: Networks) -> tuple[Fit, dict[str, Any]]:
    """How the arrays fit the network, and the options with which they fit best."""
    build, found = networks.builders[model], []
    for options in networks.variants(model):
        small = sketch(build, 2, **options)
        own, heads = torch_shapes(small), names_of_classes(build, **options)
        given, prefix = without_prefix(arrays, own)
        sizes = [given[name].shape[0] for name in heads if name in given and given[name].shape[1:] == own[name][1:]]
        classes = sizes[-1] if sizes else 2
        if classes > 2:
            own = torch_shapes(sketch(build, classes, **options))
        found.append((compare(given, own, list(side_heads(small)), prefix, classes), options))
    return max(found, key=lambda each: each[0].matched)


def _advice(arrays: Mapping[str, np.ndarray], model: str, fit: Fit, networks: Networks) -> str:
    """How much of the network is in the file, and which other network fits better."""
    share = f"it has {fit.matched:,} of its {fit.expected:,} arrays"
    others = {name: best_fit(arrays, name, networks)[0] for name in networks.builders if name != model}
    if whole := [name for name, other in others.items() if other.fits]:
        return f"{share}; it fits --model {whole[0]}"
    best = max(others, key=lambda name: others[name].closeness)
    if others[best].closeness > fit.closeness:
        nearest = f"the nearest is {best}, {others[best].matched:,} of {others[best].expected:,}"
        return f"{share}; it fits no network of minidl ({nearest})"
    return f"{share}; it fits no network of minidl"


def _notes(found: TorchWeights, fit: Fit, about: About, nameless: bool) -> Iterator[tuple[str, str]]:
    where = [f'in "{found.inside[:SHOWN]}"'] if found.inside else []
    where += [f'without the prefix "{fit.prefix[:SHOWN]}"'] if fit.prefix else []
    kinds = sorted({a.dtype.name for a in fit.arrays.values()})
    yield "file", ", ".join([f"{len(found.arrays):,} arrays of {' and '.join(kinds)}", *where])
    yield "model", f"{network_in_words(about.model, about.config)}, {len(about.classes):,} classes"
    if nameless:
        yield "classes", "class0, class1, ...: --classes FILE gives them names"
    mean, std = (", ".join(f"{v:g}" for v in values) for values in (about.mean, about.std))
    yield "images", f"{about.image_shape[0]}x{about.image_shape[1]}, mean {mean}, std {std}"
    if (usual := NORMALISATION.get(about.model)) and about.mean == list(usual[0]):
        yield (
            "",
            "(what torchvision's transform_input makes of ImageNet's; of your own training, give --mean and --std)",
        )
    if fit.left_out:
        layers = list(dict.fromkeys(name.split(".")[0] for name in fit.left_out))
        yield "new", f"{' and '.join(layers)}: not in the file, so they begin anew; only training uses them"
