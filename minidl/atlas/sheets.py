"""Pictures as tiles in sheets: one file for a thousand pictures of 64 pixels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from minidl.atlas.records import Tiles
from minidl.storage.files import cant_write

SHEET = 2048  # pixels of a full sheet's side
LARGEST = 128  # pixels of a tile's side; larger images are made smaller
BLOCK = 16  # WebP compresses blocks of 16 pixels: tiles that begin at a multiple of it don't run into each other
PHOTOS, PROJECTIONS = 60, 36  # quality; chosen by looking: a projection is noise around gray, which hides the loss
BACKGROUND = 128  # around tiles that are not square, and between tiles


def tiles_for(image_shape: tuple[int, ...]) -> Tiles:
    """How tiles of images (H, W, C) lie in a sheet."""
    size = min(max(image_shape[:2]), LARGEST)
    step = -(-size // BLOCK) * BLOCK
    across = SHEET // step
    return Tiles(size, step, across, across * across)


class Sheets:
    """Takes the tiles of a series in order, and writes a sheet `<name>-<number>.webp` when it is full."""

    def __init__(self, folder: Path, name: str, tiles: Tiles, quality: int) -> None:
        self.folder, self.name, self.tiles, self.quality = folder, name, tiles, quality
        self.count = 0
        self._sheet = self._blank()

    def add(self, images: np.ndarray) -> None:
        """Adds images, uint8 (n, H, W, 3)."""
        for image in images:
            row, column = divmod(self.count % self.tiles.each, self.tiles.across)
            tile = fitted(image, self.tiles.size)
            y, x = row * self.tiles.step, column * self.tiles.step
            self._sheet[y : y + len(tile), x : x + len(tile)] = tile
            self.count += 1
            if self.count % self.tiles.each == 0:
                self._write(self.count // self.tiles.each - 1, self.tiles.across)
                self._sheet = self._blank()

    def close(self) -> None:
        """Writes the last sheet, as high as it must be."""
        if rest := self.count % self.tiles.each:
            self._write(self.count // self.tiles.each, -(-rest // self.tiles.across))

    def _write(self, number: int, rows: int) -> None:
        picture = Image.fromarray(self._sheet[: rows * self.tiles.step])
        path = self.folder / f"{self.name}-{number:03}.webp"
        try:
            picture.save(path, quality=self.quality, method=2)
        except OSError as error:
            raise cant_write(path, error) from error

    def _blank(self) -> np.ndarray:
        side = self.tiles.across * self.tiles.step
        return np.full((side, side, 3), BACKGROUND, np.uint8)


def fitted(image: np.ndarray, size: int) -> np.ndarray:
    """An image, uint8 (H, W, 3), in a square (size, size, 3), in its middle if it isn't square itself."""
    height, width = image.shape[:2]
    if max(height, width) > size:
        shape = (max(1, width * size // max(height, width)), max(1, height * size // max(height, width)))
        image = np.asarray(Image.fromarray(image).resize(shape, Image.Resampling.BOX))
        height, width = image.shape[:2]
    if height == width == size:
        return image
    square = np.full((size, size, 3), BACKGROUND, np.uint8)
    y, x = (size - height) // 2, (size - width) // 2
    square[y : y + height, x : x + width] = image
    return square
