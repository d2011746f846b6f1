"""What the page says around its stages: the image, its class, and the strip of the network."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from minidl.explain.records import Block
from minidl.explain.watch import Seen
from minidl.layers import Layer
from minidl.layers.base import Shape
from minidl.layers.heads import main_line
from minidl.visual.truncate import Keys, walk


def data_address(picture: np.ndarray) -> str:
    """A picture, uint8 (H, W, 3), as a PNG in an address."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="PNG")
    return f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"


def word(words: Sequence[str], label: int) -> str:
    """The name of a class; empty if it is unknown."""
    if label < 0:
        return ""
    return words[label] if label < len(words) else f"class {label}"


def predicted(words: Sequence[str], scores: np.ndarray | None) -> str:
    """The likeliest class and its probability."""
    return "" if scores is None else f"{word(words, int(scores.argmax()))}, {100 * scores.max():.0f} %"


def box(a: np.ndarray) -> tuple[int, int, int, int] | None:
    """top, left, bottom, right of what is not zero in a (H, W)."""
    rows, columns = np.nonzero(a)
    if not rows.size:
        return None
    return int(rows.min()), int(columns.min()), int(rows.max()) + 1, int(columns.max()) + 1


def blocks(model: Layer, shape: Shape, keys: Keys) -> list[Block]:
    """The layers at the top of the model, for an input of `shape`; the one that contains `keys` with its parts."""
    if model.wiring != "chain":
        return [Block("model", model.label, list(model.out_shape(shape)[1:]), [])]
    found = []
    for name, place, child in main_line(model):
        shape = child.out_shape(shape)
        parts = _branches(child, name) if place == keys[: len(place)] else []
        found.append(Block(name, child.label, list(shape[1:]), parts))
    return found


def _branches(layer: Layer, name: str) -> list[list[str]]:
    """The names of the parts of a module, those of each branch in a list; of a chain, one list."""
    if layer.wiring != "parallel":
        return [[f"{name}.{key}" for key in layer.children()]] if layer.children() else []
    found = []
    for key, child in layer.children().items():
        inner = [f"{name}.{k}" if key in layer.unnamed else f"{name}.{key}.{k}" for k in child.children()]
        found.append(inner or [f"{name}.{key}"])
    return found


def branch_name(branch: Seen) -> str:
    """The name of a branch: its own, or that of its last layer if it has none."""
    last = [place.name for place in walk(branch.layer) if len(place.keys) == 1]
    own = branch.name.rpartition(".")[2]
    return last[-1] if last and own.isdecimal() else own


def shown(image: np.ndarray) -> np.ndarray:
    """Floats (H, W, C) of any range as uint8 (H, W, 3): from darkest to brightest; one or two channels are gray."""
    low, high = image.min(), image.max()
    pixels = np.rint(255 * (image - low) / ((high - low) or 1)).astype(np.uint8)
    return pixels[..., :1].repeat(3, axis=2) if pixels.shape[2] < 3 else pixels[..., :3]
