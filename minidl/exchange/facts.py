"""What a checkpoint says about its network, for the metadata of a file and for its model card."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from minidl.data import HELD_OUT
from minidl.data.naming import SHAPES
from minidl.storage.metadata import to_json
from minidl.training.checkpoints import Checkpoint
from minidl.training.config import network_in_words
from minidl.training.run_data import IMPORTED, TINY_IMAGENET
from minidl.version import __version__

TASK = "image-classification"
TINY_IMAGENETS = 10_000  # validation images of Tiny ImageNet


def in_each_class(share: float) -> str:
    """What `subset` and `split_off` take for a share, in words."""
    return f"{100 * share:g} % of each class, at least one image"


@dataclass(frozen=True)
class Facts:
    """The checkpoint, which must be a portable one, and what follows from it."""

    checkpoint: Checkpoint
    license: str = "unknown"  # by its SPDX identifier in lower case, as Hugging Face has them
    val_images: int | None = None  # of the data set, if that is known

    @property
    def model(self) -> str:
        """The name and the options, such as "resnet18, stem imagenet"."""
        chosen = {name: value for name, value in self.config.items() if name != "dropout"}
        return network_in_words(self.checkpoint.about.model, chosen)

    @property
    def config(self) -> dict[str, Any]:
        return self.checkpoint.about.config

    @property
    def size(self) -> int:
        """Height and width of the images."""
        return self.checkpoint.about.image_shape[0]

    @property
    def parameters(self) -> int:
        """How many learned numbers the network has."""
        return sum(a.size for name, a in self.checkpoint.arrays.items() if ".running_" not in f".{name}")

    @property
    def data(self) -> str | None:
        """The name of the data set; None if the weights came from elsewhere and nothing says it."""
        name = self.config["data"]
        if Path(name).name == IMPORTED and not self.checkpoint.state.step:
            return None
        return name if name == SHAPES else Path(name).name

    @property
    def drawn(self) -> bool:
        """Whether the images are minidl's drawings."""
        return self.config["data"] == SHAPES

    @property
    def of_imagenet(self) -> bool:
        return self.data == TINY_IMAGENET

    @cached_property
    def measured(self) -> dict[str, Any] | None:
        """The row of the history that was measured with exactly these weights, if there is one."""
        state = self.checkpoint.state
        rows = [row for row in state.history if row["epoch"] == state.epoch and not state.batch]
        return rows[-1] if rows and math.isfinite(rows[-1]["val_loss"]) else None

    @property
    def whole(self) -> bool:
        """Whether accuracy was measured on the whole validation split of a well-known data set."""
        config = self.config
        part = config.get("val_split") or config.get("subset", 1) < 1 or config.get("classes")
        return self.of_imagenet and not part

    @property
    def part(self) -> str:
        """The images that accuracy was measured on, in words. A checkpoint has the shares that were asked for."""
        share = self.config.get("subset", 1)
        some, of_each = ("a part of ", f" ({in_each_class(share)})") if share < 1 else ("", "")
        if held_out := self.config.get("val_split"):
            return f"{some}a part of its training images that was held out ({in_each_class(held_out)}){of_each}"
        known = self.val_images or (TINY_IMAGENETS if self.whole else None)
        number = f"{known:,} " if known else ""
        own = self.drawn or self.of_imagenet  # which have validation images
        others = "" if own else f" (without any, training images that were held out: {in_each_class(HELD_OUT)})"
        return f"{some}its {number}validation images{others}{of_each}"

    def preprocessing(self, layout: str, pixels: bool = False) -> dict[str, Any]:
        """How an image becomes an input. `pixels`: mean and std are in the network already."""
        about, size = self.checkpoint.about, self.size
        numbers = {"range": [0, 255]} if pixels else {"range": [0, 1], "mean": about.mean, "std": about.std}
        return {
            "input_size": [3, size, size] if layout == "NCHW" else [size, size, 3],
            "layout": layout,
            "color": "RGB",
            "crop_mode": "center",
            "crop_pct": 1.0,
            "interpolation": "bilinear",
            **numbers,
        }

    def metadata(self, layout: str, pixels: bool = False) -> dict[str, str]:
        """Texts for the metadata of a file; lists and tables are JSON."""
        about, row = self.checkpoint.about, self.measured
        found = {
            "model": self.model,
            "task": TASK,
            "classes": to_json(about.classes),
            "words": to_json(about.words),
            "preprocessing": to_json(self.preprocessing(layout, pixels)),
            "license": self.license,
            "producer": f"minidl {__version__}",
        }
        if row is not None:
            accuracy = {"top1": row["val_top1"], "top5": row["val_top5"], "dataset": self.data, "images": self.part}
            found["accuracy"] = to_json(accuracy)
        return found
