"""Everything that is drawn can be seen: every point is within its axes, every word within the picture."""

import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox
from matplotlib.patches import Patch
from matplotlib.spines import Spine
from matplotlib.text import Text

from minidl.visual import canvas

PIXEL = 1.0  # what rounding may move


@pytest.fixture
def drawn(monkeypatch):
    """The figures that minidl draws, in their order."""
    figures = []

    class Kept(canvas.Figure):
        def __init__(self, **options):
            super().__init__(**options)
            figures.append(self)

    monkeypatch.setattr(canvas, "Figure", Kept)
    # Everything finds its place, and no pixel is painted: in a third of the time.
    monkeypatch.setattr(canvas.FigureCanvasAgg, "draw", arrange)
    return figures


def arrange(canvas):
    renderer = canvas.get_renderer()
    with renderer._draw_disabled():
        canvas.figure.draw(renderer)


def places(artist):
    """Where an artist has its points or corners, in pixels (n, 2)."""
    if isinstance(artist, Line2D):
        return artist.get_transform().transform(np.asarray(artist.get_xydata(), float))
    if isinstance(artist, PathCollection):
        return artist.get_offset_transform().transform(np.ma.filled(artist.get_offsets(), np.nan))
    if isinstance(artist, AxesImage):
        left, right, bottom, top = artist.get_extent()
        return artist.axes.transData.transform([(left, bottom), (right, top)])
    if isinstance(artist, Patch | AnnotationBbox):
        return artist.get_window_extent().get_points()
    return np.empty((0, 2))


def words(figure):
    """All texts that are drawn, but for those of the ticks."""
    owners = [figure, *figure.axes]
    legends = [*figure.legends, *(axes.get_legend() for axes in figure.axes if axes.get_legend())]
    texts = [text for owner in owners for text in owner.texts]
    texts += [text for axes in figure.axes if axes.axison for text in (axes.title, *(a.label for a in axes_of(axes)))]
    texts += [text for legend in legends for text in legend.get_texts()]
    texts += [figure._suptitle] if figure._suptitle else []
    texts += [figure._supxlabel] if figure._supxlabel else []
    return [text for text in texts if isinstance(text, Text) and text.get_text()]


def axes_of(axes):
    return axes._axis_map.values()


def within(inner, outer, what):
    """Whether pixels (n, 2) lie within the bounding box `outer`."""
    inner = inner[np.isfinite(inner).all(axis=1)]
    low, high = outer.get_points() + np.array([[-PIXEL], [PIXEL]])
    assert ((inner >= low) & (inner <= high)).all(), (
        f"{what}: {inner.min(0)} to {inner.max(0)} is not in {low} {high}"
    )
    return len(inner)


def check(figure, cut=()):
    """How many points and corners lie within axes; fails if one doesn't, or a word lies outside the picture.

    `cut` has the labels of lines that may leave their axes.
    """
    points = 0
    for axes in figure.axes:
        within(axes.bbox.get_points(), figure.bbox, axes)
        for artist in axes.get_children():
            border = artist is axes.patch or isinstance(artist, Spine)
            if artist.get_visible() and not border and artist.get_label() not in cut:
                points += within(places(artist), axes.bbox, artist)
        for axis in axes_of(axes) if axes.axison else ():
            if (box := axis.get_tightbbox()) is not None:
                within(box.get_points(), figure.bbox, axis)
        for legend in figure.legends:
            assert not legend.get_window_extent().padded(-PIXEL).overlaps(axes.bbox)
    for text in words(figure):
        within(text.get_window_extent().get_points(), figure.bbox, repr(text.get_text()))
    for legend in figure.legends:
        within(legend.get_window_extent().get_points(), figure.bbox, legend)
    return points
