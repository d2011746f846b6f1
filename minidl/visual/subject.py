"""What every look into a network starts from: a trained network, and images for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import ModuleType

import numpy as np

from minidl.backend.arrays import to_device, to_host
from minidl.data.base import Split
from minidl.data.classes import find_class
from minidl.data.images import read_image
from minidl.data.loader import normalise
from minidl.errors import UsageError
from minidl.layers.base import INFER, Layer
from minidl.losses import softmax
from minidl.training import run_data
from minidl.training.checkpoints import Checkpoint
from minidl.training.execution import Execution, on_engine
from minidl.training.run_data import Data
from minidl.training.runs import run_folder
from minidl.visual.truncate import LayerInfo, layer_table, truncate

BATCH = 100


class Subject:
    """The network of a checkpoint, with the images of a split of its data set.

    model     of plain layers, on the host
    running   the same on the engine and backend that were asked for, whose array module is xp
    plain     of plain layers, on that backend

    build     makes registered networks
    data      where the data set is, if it has moved since the training
    whole     use whole splits of it, even if the network was trained and evaluated on a part

    The data set is opened when an image of it is needed, and the engine is made when the network is run.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        build: Callable[..., Layer],
        *,
        data: str | None = None,
        whole: bool = False,
        split: str = "val",
        execution: Execution | None = None,
    ) -> None:
        self.split_name, self.execution = split, execution or Execution()
        self._data = data, whole
        self.checkpoint, self.about, self.model = checkpoint, checkpoint.about, checkpoint.build(build)

    # ------------------------------------------------------------------- engine

    @cached_property
    def _on_engine(self) -> tuple[Layer, ModuleType]:
        return on_engine(self.model, self.execution)

    @property
    def running(self) -> Layer:
        return self._on_engine[0]

    @property
    def xp(self) -> ModuleType:
        return self._on_engine[1]

    @property
    def plain(self) -> Layer:
        return self.model if self.xp is np else self.running  # which is plain there

    # ------------------------------------------------------------------- images

    @cached_property
    def data(self) -> Data:
        return run_data.saved_data(self.checkpoint, *self._data)

    @cached_property
    def split(self) -> Split:
        """Raises UsageError if the data set has no such split, or no image in it."""
        return self.data.split(self.split_name)

    def pictures(self, positions: np.ndarray) -> np.ndarray:
        """Images of the split, uint8 (n, H, W, 3)."""
        return self.split.images(np.asarray(positions))

    def images(self, positions: np.ndarray) -> np.ndarray:
        """The same images in the form that the network takes, float32 (n, H, W, 3)."""
        return self.normalised(self.pictures(positions))

    def normalised(self, pictures: np.ndarray) -> np.ndarray:
        return normalise(pictures, self.about.mean, self.about.std)

    def photo(self, path: str) -> np.ndarray:
        """The central square of a photo in the network's size, uint8 (H, W, 3); DataError if it can't be read."""
        return read_image(path, self.about.image_shape[0])

    def position(self, index: int) -> int:
        """`index` itself; UsageError if the split has no such image."""
        if not 0 <= index < len(self.split):
            raise UsageError(f"image {index}: {self.split_name} has images 0 to {len(self.split) - 1}")
        return index

    # -------------------------------------------------------- labels and classes

    def labels(self, positions: np.ndarray) -> np.ndarray:
        """True labels; -1 where they are unknown."""
        if self.split.labels is None:
            return np.full(len(positions), -1)
        return self.split.labels[positions]

    def predicted(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The likeliest class of images (n, H, W, 3), and its probability."""
        logits, _ = self.running.forward(to_device(x, self.xp), INFER)
        p = to_host(softmax(logits))
        return p.argmax(axis=1), p.max(axis=1)

    def predicted_at(self, positions: np.ndarray) -> np.ndarray:
        """The likeliest classes of images of the split, computed a few at a time."""
        parts = range(0, len(positions), BATCH)
        return np.concatenate([self.predicted(self.images(positions[i : i + BATCH]))[0] for i in parts])

    @cached_property
    def names(self) -> list[str]:
        """The first name of every class, with its id if others have the same, as ImageNet's two cranes do."""
        first = [words.split(",")[0] for words in self.about.words]
        many = Counter(first)
        return [
            f"{name} ({c})" if many[name] > 1 else name for name, c in zip(first, self.about.classes, strict=True)
        ]

    def words(self, labels: np.ndarray) -> list[str]:
        """The classes' names."""
        return ["" if c < 0 else self.names[c] for c in labels]

    def class_of(self, text: str) -> int:
        """The class that an id, a position or a name means (see `find_class`)."""
        return find_class(text, self.about.classes, self.about.words)

    # ------------------------------------------------------------------- layers

    @cached_property
    def layers(self) -> list[LayerInfo]:
        return layer_table(self.model, tuple(self.about.image_shape))

    def layer(self, name: str) -> LayerInfo:
        """The row of `layers` for any layer; UsageError if there is none of this name."""
        part = truncate(self.model, name)
        return LayerInfo(name, repr(part), part.out_shape((1, *self.about.image_shape))[1:])

    def last_map(self) -> str:
        """The last layer whose output is a map."""
        maps = [row.name for row in self.layers if len(row.shape) == 3]
        if not maps:
            raise UsageError(f"{self.checkpoint.path}: no layer of this network has a map")
        return maps[-1]

    # ---------------------------------------------------------------- the checkpoint

    @property
    def run(self) -> Path | None:
        """The folder of the run to which the checkpoint belongs."""
        return run_folder(self.checkpoint.path.resolve())

    @property
    def source(self) -> str:
        """The checkpoint as footers name it: run and file."""
        path = self.checkpoint.path
        return path.name if self.run is None else f"{self.run.name}/{path.stem}"
