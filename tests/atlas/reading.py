"""Reads an atlas back as a page does."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

from minidl.atlas.records import ALPHABET


def read(atlas: Path, name: str):
    """The record that data/<name>.js gives to the page."""
    text = (atlas / "data" / f"{name}.js").read_text("ascii")
    start, end = f'atlas.put("{name}", ', ");\n"
    assert text.startswith(start) and text.endswith(end)
    return json.loads(text[len(start) : -len(end)])


def tile(atlas: Path, series: str, number: int) -> np.ndarray:
    """A picture, uint8 (size, size, 3)."""
    tiles = read(atlas, "atlas")["tiles"]
    sheet = np.asarray(Image.open(atlas / "sheets" / f"{series}-{number // tiles['each']:03}.webp"))
    row, column = divmod(number % tiles["each"], tiles["across"])
    y, x = row * tiles["step"], column * tiles["step"]
    return sheet[y : y + tiles["size"], x : x + tiles["size"]]


def steps(text: str, images: int) -> np.ndarray:
    """The steps of an activity, 0 to 15, of all images."""
    numbers = np.array([ALPHABET.index(letter) for letter in text]).reshape(-1, 2) @ [64, 1]
    return np.stack([numbers // 256, numbers // 16 % 16, numbers % 16], axis=1).ravel()[:images]
