"""The network of a run: with new weights, or with those of another run."""

from __future__ import annotations

from collections.abc import Callable

from minidl.errors import DataError, ShapeError
from minidl.layers import Layer
from minidl.layers.heads import last_leaves
from minidl.training.batches import first_size
from minidl.training.checkpoints import Checkpoint
from minidl.training.config import Config, network_in_words, of_network
from minidl.training.run_data import Data

BuildModel = Callable[..., Layer]  # (name, classes=, seed=, and the settings of_network) -> model


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
