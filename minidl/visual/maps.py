"""Maps over an image: what changes if a part is hidden (occlusion), and where the evidence is (Grad-CAM)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from minidl.visual.canvas import COLOURS, Axes, Figure, Outline, PathPatch, colormaps, save_figure
from minidl.visual.lettering import add_legend, add_title, fit, wrap
from minidl.visual.sheets import save_sheet

SHADES = colormaps["viridis"]  # perceptually uniform: in gray print its lightness shows the same
HATCHES = ("", "////", "....", "xxxx", "\\\\\\\\", "oo")  # of the labels on a map, the most frequent first
OTHER = {"facecolor": "#DDDDDD", "hatch": "--"}
IMAGE_SHARE = 0.5  # of the gray image in an overlay


def save_occlusion(
    path: Path,
    image: np.ndarray,
    probability: np.ndarray,
    predicted: np.ndarray,
    names: list[str],
    baseline: float,
    title: str,
    footer: str,
) -> None:
    """An image, uint8 (H, W, 3), and beside it what the network predicts while a part of it is hidden.

    probability  of the class that is explained, (h, w) over the image; `baseline` is that of the whole image
    predicted    labels for each place, int (oh, ow); names[label] is in the legend for the six most frequent

    Raises as `save_figure`.
    """
    height, width = image.shape[:2]
    extent = (0, width, height, 0)

    def draw(figure: Figure) -> None:
        figure.set_layout_engine("constrained")
        add_title(figure, title)
        figure.supxlabel("\n".join(wrap(footer, 72 * 11.5, 7)), fontsize=7, color="#444444")
        original, heat, said = figure.subplots(1, 3)
        original.imshow(image, interpolation="nearest", extent=extent)
        original.set_title("image", fontsize=9)
        top = max(probability.max(), baseline, 1e-6)
        shades = heat.imshow(probability, cmap=SHADES, vmin=0, vmax=top, interpolation="nearest", extent=extent)
        heat.set_title("probability of the class where hidden", fontsize=9)
        bar = figure.colorbar(shades, ax=heat, shrink=0.8)
        bar.ax.axhline(baseline, color="black", linewidth=3)
        bar.ax.axhline(baseline, color="white", linewidth=1)
        bar.set_label(f"line: nothing hidden, {baseline:.2f}", fontsize=8)
        bar.ax.tick_params(labelsize=7)
        _regions(said, predicted, names, extent)
        said.set_title("predicted class where hidden", fontsize=9)
        for axes in (original, heat, said):
            axes.set_xticks([])
            axes.set_yticks([])

    save_figure(path, (12, 3.9), draw)


def _regions(axes: Axes, predicted: np.ndarray, names: list[str], extent: tuple[float, ...]) -> None:
    """The places of each label in a colour and a hatch of their own."""
    labels, counts = np.unique(predicted, return_counts=True)
    ranked = labels[np.argsort(-counts, kind="stable")]
    shown = ranked[: len(HATCHES)]
    parts = [
        (predicted == label, names[label], {"facecolor": COLOURS[k] + "A0", "hatch": HATCHES[k]})
        for k, label in enumerate(shown)
    ]
    if len(ranked) > len(shown):
        parts.append((~np.isin(predicted, shown), f"{len(ranked) - len(shown)} others", OTHER))
    words = []
    for where, name, look in parts:
        share = f"{100 * where.mean():.0f} %" if where.mean() >= 0.005 else "< 1 %"
        words.append(f"{fit(name, 110, 8)} · {share}")
        axes.add_patch(PathPatch(_squares(where, extent), edgecolor="black", linewidth=0, **look))
    axes.set(xlim=extent[:2], ylim=extent[2:], aspect="equal")
    beside = (1.01, 1.02)
    add_legend(axes, axes.patches, words, loc="upper left", bbox_to_anchor=beside, handlelength=2, handleheight=1.6)


def _squares(where: np.ndarray, extent: tuple[float, ...]) -> Outline:
    """The outline over `extent` around the cells of a map (oh, ow) that are true."""
    _, width, height, _ = extent
    corner = np.array([(0, 0), (1, 0), (1, 1), (0, 1), (0, 0)])
    cells = np.argwhere(where)[:, None, ::-1] + corner  # (k, 5, 2) as x, y
    vertices = cells.reshape(-1, 2) * (width / where.shape[1], height / where.shape[0])  # (5 k, 2)
    codes = [Outline.MOVETO, Outline.LINETO, Outline.LINETO, Outline.LINETO, Outline.CLOSEPOLY] * len(cells)
    return Outline(vertices, codes)


def save_gradcam(
    path: Path,
    images: np.ndarray,
    maps: np.ndarray,
    true: list[str],
    predicted: list[str],
    explained: list[str],
    title: str,
    footer: str,
) -> None:
    """A sheet of images, uint8 (n, H, W, 3), with their maps (n, H, W), never negative, laid over them.

    true, predicted    classes, as in `save_sheet`
    explained          the class for which each map is evidence

    Each map is divided by its largest value; a line surrounds the part above half of it. Raises as `save_sheet`.
    """
    peaks = maps.max(axis=(1, 2))
    overlays = np.stack([overlay(image, m / (peak or 1)) for image, m, peak in zip(images, maps, peaks, strict=True)])
    legend = f"{footer} · bright: evidence; line: half of its maximum in the image"
    captions = [f"for {name}" for name in explained]
    save_sheet(path, images, overlays, true, predicted, title, legend, peaks <= 0, captions)


def overlay(image: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """A map (H, W) in [0, 1] as colours over the gray `image`, uint8 (H, W, 3), with a white line at 1/2."""
    gray = image @ np.array([0.299, 0.587, 0.114])
    mixed = IMAGE_SHARE * gray[..., None] + (1 - IMAGE_SHARE) * 255 * SHADES(shares)[..., :3]
    inside = np.pad(shares >= 0.5, 1, mode="edge")
    core = inside[:-2, 1:-1] & inside[2:, 1:-1] & inside[1:-1, :-2] & inside[1:-1, 2:]
    mixed[inside[1:-1, 1:-1] & ~core] = 255
    return mixed.round().astype(np.uint8)
