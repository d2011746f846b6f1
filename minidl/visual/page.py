"""A page of images in grids, placed pixel by pixel, with text around them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minidl.errors import UsageError
from minidl.visual.canvas import DPI, Artist, Figure, RendererBase, save_figure
from minidl.visual.lettering import fit, wrap
from minidl.visual.screen import MID_GRAY

# Places and lengths are in pixels, sizes of letters in points.
POINT = DPI / 72
TITLE, LABEL, SMALL, TINY = 11, 8, 7, 6
TILE = 192  # about the width of an enlarged image
GUTTER, ROW_GAP, BLOCK_GAP, MARGIN = 6, 10, 40, 24
WRONG = "✗ "  # before a wrong prediction, which is in italics too
GRAY = "#444444"


def line_height(size: int) -> int:
    """The height of a line of text of `size`."""
    return round(1.5 * size * POINT)


class Page:
    """A white page with images and text. Each pixel of an image is one pixel of the page.

    The body of the page is `width` x `height`, with the `title` above it and the `footer` below; places are measured
    from the body's top left corner. All pixels are in one array, because as artists of matplotlib images would take
    most of the time.
    """

    def __init__(self, width: int, height: int, title: str, footer: str) -> None:
        page_width = max(width, 3 * TILE)
        lines = wrap(footer, page_width / POINT, SMALL)
        self.left, self.top = MARGIN + (page_width - width) // 2, MARGIN // 2 + line_height(TITLE) + GUTTER
        bottom = self.top + height + line_height(SMALL) * len(lines) + MARGIN
        self.pixels = np.full((bottom, page_width + 2 * MARGIN, 3), 255, np.uint8)
        self._words: list[tuple[str, float, float, dict]] = []
        self.write(fit(title, page_width / POINT, TITLE), width / 2, -line_height(TITLE) / 2 - GUTTER, TITLE)
        for i, text in enumerate(lines):
            self.write(text, width / 2, height + line_height(SMALL) * (i + 1), SMALL, color=GRAY)

    def place(self, image: np.ndarray, x: int, y: int) -> None:
        """Puts the top left corner of `image`, uint8 (H, W, 3), at (x, y)."""
        x, y = self.left + x, self.top + y
        self.pixels[y : y + image.shape[0], x : x + image.shape[1]] = image

    def write(self, text: str, x: float, y: float, size: int, **look: str) -> None:
        """Centres one line of `text` at (x, y)."""
        if not text:
            return
        baseline = self.top + y + 0.36 * size * POINT  # half the height of a capital letter below
        self._words.append((text, self.left + x, baseline, {"fontsize": size, **look}))

    def save(self, path: Path) -> None:
        height, width = self.pixels.shape[:2]

        def draw(figure: Figure) -> None:
            figure.add_artist(_Pixels(self.pixels))
            for text, x, y, look in self._words:
                figure.text(x / width, 1 - y / height, text, ha="center", va="baseline", **look)

        save_figure(path, (width / DPI, height / DPI), draw)


class _Pixels(Artist):
    """An image, uint8 (H, W, 3), that fills the figure. matplotlib's own image is resampled even at its own size."""

    def __init__(self, pixels: np.ndarray) -> None:
        super().__init__()
        self.rgba = np.dstack([pixels, np.full_like(pixels[..., :1], 255)])[::-1]  # matplotlib counts from below

    def draw(self, renderer: RendererBase) -> None:
        gc = renderer.new_gc()
        renderer.draw_image(gc, 0, 0, self.rgba)
        gc.restore()


@dataclass
class Grid:
    """`images`, uint8 (n, H, W, 3), in `columns`; with a line of text `above` each of them, and lines `below` it.

    The images that are `blank`, bool (n,), are mid-gray with the text `nothing`.
    """

    images: np.ndarray
    columns: int
    above: list[str] | None = None
    below: Sequence[list[str]] = ()
    size: int = LABEL
    blank: np.ndarray | None = None
    nothing: str = "no signal"

    def __post_init__(self) -> None:
        if not len(self.images):
            raise UsageError("there are no images for the picture")
        height, width = self.images.shape[1:3]
        lines = len(self.below) + (self.above is not None)
        self.step = width + GUTTER, height + lines * line_height(self.size) + ROW_GAP
        self.width = min(self.columns, len(self.images)) * self.step[0] - GUTTER
        self.height = math.ceil(len(self.images) / self.columns) * self.step[1] - ROW_GAP

    def put(self, page: Page, x: int, y: int) -> None:
        """Puts the grid on `page`, with its top left corner at (x, y)."""
        height, width = self.images.shape[1:3]
        labels = {height + line_height(self.size) * (k + 0.5): texts for k, texts in enumerate(self.below)}
        if self.above is not None:
            labels[-line_height(self.size) / 2] = self.above
            y += line_height(self.size)
        for i, image in enumerate(self.images):
            left, top = x + i % self.columns * self.step[0], y + i // self.columns * self.step[1]
            blank = self.blank is not None and self.blank[i]
            page.place(np.full_like(image, MID_GRAY) if blank else image, left, top)
            if blank:
                page.write(self.nothing, left + width / 2, top + height / 2, LABEL)
            for place, texts in labels.items():
                look = {"style": "italic"} if texts[i].startswith(WRONG) else {}
                text = fit(texts[i], width / POINT, self.size)
                page.write(text, left + width / 2, top + place, self.size, **look)


def save_grids(path: Path, grids: list[tuple[str, Grid]], title: str, footer: str) -> None:
    """Saves a page with grids side by side, and a heading over each."""
    head = line_height(SMALL) if any(heading for heading, _ in grids) else 0
    width = sum(grid.width + BLOCK_GAP for _, grid in grids) - BLOCK_GAP
    page = Page(width, head + max(grid.height for _, grid in grids), title, footer)
    x = 0
    for heading, grid in grids:
        page.write(fit(heading, grid.width / POINT, SMALL), x + grid.width / 2, head / 2, SMALL, color=GRAY)
        grid.put(page, x, head)
        x += grid.width + BLOCK_GAP
    page.save(path)
