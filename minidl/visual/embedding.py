"""Images as points: their features, and their positions in two or three dimensions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from minidl.backend.arrays import to_host
from minidl.data.loader import Loader
from minidl.errors import UsageError
from minidl.layers import Flatten, Layer, Linear
from minidl.layers.context import join
from minidl.layers.heads import spine
from minidl.parallel.communicator import ALONE, Communicator
from minidl.training.evaluation import predict
from minidl.visual.probe import require_order
from minidl.visual.truncate import part

TSNE_IMAGES = 5  # fewer have no neighbourhoods to speak of
EXAGGERATION = 12.0  # of the attraction in the first steps, scikit-learn's default


@dataclass
class Embedding:
    """Points of n images in `dims` dimensions."""

    points: np.ndarray  # float64 (n, dims)
    explained: np.ndarray | None  # (dims,) share of the features' variance along each axis; None for t-SNE


def features(
    model: Layer,
    loader: Loader,
    xp: ModuleType = np,
    on_batch: Callable[[int], None] = lambda images: None,
    comm: Communicator = ALONE,
) -> np.ndarray:
    """The input of the model's last layer, a Linear, for every image of the loader: float32 (n, D).

    It is computed on the engine and backend of `model`, with running statistics and without dropout. `on_batch` is
    called with the number of images after each batch. The ranks of `comm` share the batches; each gets all features.
    Raises UsageError if the model does not end in a Linear layer, and for a loader that shuffles.
    """
    require_order(loader)
    rows = []
    for x, _ in predict(_without_head(model), loader, xp, comm):
        rows.append(to_host(x).astype(np.float32, copy=False))
        on_batch(len(x))
    return np.concatenate(rows)


def of_classes(labels: np.ndarray | None, classes: Sequence[int]) -> np.ndarray:
    """The positions of the images of these classes, in order, int64 (n,).

    Raises UsageError if there are no labels, no classes, or no images of one of them.
    """
    if labels is None:
        raise UsageError("the images of this split have no labels: choose one that has, such as val")
    if missing := [str(c) for c in classes if c not in labels]:
        raise UsageError(f"no image of class {', '.join(missing)} in this split")
    if len(classes) == 0:
        raise UsageError("no classes given: choose at least one")
    return np.flatnonzero(np.isin(labels, classes))


def pca(x: np.ndarray, dims: int) -> Embedding:
    """The features x (n, D) on the axes along which they vary most, and the share of the variance on each.

        points = (x - mean) V,    explained_i = var(points_i) / sum of the variances of the D features,

    V (D, dims) contains the first right singular vectors of x - mean, each with its largest entry positive. The
    shares are those of the given images: to get the shares for all of val, give all of val.

    Raises UsageError unless 1 <= dims <= D, dims < n (n points span n - 1 dimensions) and the features vary.
    Source: Pearson, On lines and planes of closest fit, 1901; scikit-learn's PCA.
    """
    x = _checked(x, dims, least=dims + 1, name="PCA")
    fit = PCA(dims, svd_solver="full")
    return Embedding(fit.fit_transform(x), fit.explained_variance_ratio_)


def tsne(x: np.ndarray, dims: int, seed: int = 0, perplexity: float = 30) -> Embedding:
    """The features x (n, D) in 2 or 3 dimensions, so that near neighbours stay near. Distances have little other
    meaning.

    It starts at the principal components, with the learning rate n / exaggeration. `perplexity` is roughly the number
    of neighbours that count; with few images it is lowered to (n - 1) / 3. The same seed gives the same points on any
    number of threads.

    Raises UsageError unless dims is 2 or 3, dims <= D, n >= 5 and the features vary.
    Sources: van der Maaten & Hinton, Visualizing data using t-SNE, 2008; Kobak & Berens 2019 for the start and
    Belkina et al. 2019 for the learning rate; scikit-learn's TSNE.
    """
    if dims not in (2, 3):
        raise UsageError(f"t-SNE in {dims} dimensions: choose 2 or 3")
    if not perplexity > 0:
        raise UsageError(f"t-SNE: perplexity is {perplexity}, must be above 0")
    x = _in_range(_checked(x, dims, least=TSNE_IMAGES, name="t-SNE"))
    fit = TSNE(
        dims,
        init="pca",
        random_state=seed,
        perplexity=min(perplexity, (len(x) - 1) / 3),
        early_exaggeration=EXAGGERATION,
        # Over 4, as scikit-learn's gradient has a factor 4. Its "auto" is never below 50, which throws a few hundred
        # images apart in three dimensions.
        learning_rate=len(x) / EXAGGERATION / 4,
    )
    with threadpool_limits(1):  # sums over more threads round differently, and the iterations magnify it
        return Embedding(fit.fit_transform(x).astype(np.float64), None)


def _checked(x: np.ndarray, dims: int, least: int, name: str) -> np.ndarray:
    """x in float64."""
    x = np.asarray(x)
    if x.ndim != 2:
        raise UsageError(f"{name}: features of the shape {x.shape}, must be (n, D): a row for each image")
    n, d = x.shape
    if dims < 1:
        raise UsageError(f"{name} in {dims} dimensions: choose at least 1")
    if dims > d:
        raise UsageError(f"{name} in {dims} dimensions: the images have {d} features, choose at most as many")
    if n < least:
        raise UsageError(f"{name} in {dims} dimensions needs at least {least} images, got {n}")
    if not np.isfinite(x).all():
        raise UsageError(f"{name}: some features are not finite numbers")
    if (x == x[0]).all():
        raise UsageError(f"{name}: all {n} images have the same features, there is nothing to tell them apart by")
    return x.astype(np.float64)


def ends(model: Layer) -> tuple[str, str]:
    """The names of the model's last layer and of the one before it, whose outputs are its scores and its features.

    "" stands for a layer without a name, and for one whose output isn't known to enter the last.
    """
    path, before, last, layer = "", "", "", model
    while names := spine(layer):  # of another container only its own code knows what comes last
        before = "" if len(names) < 2 or names[-2] in layer.unnamed else join(path, names[-2])
        last = "" if names[-1] in layer.unnamed else join(path, names[-1])
        path = join(path, layer.level(names[-1]))
        layer = layer.children()[names[-1]]
        before = before if isinstance(layer, Linear) else ""
    return last, before


def _in_range(x: np.ndarray) -> np.ndarray:
    """x itself, or moved and scaled if squares of its distances would be nothing or infinite in float32.

    scikit-learn computes in float32, and a start at NaN crashes it. The scale makes no difference to t-SNE.
    """
    apart = x - x.mean(axis=0)
    size = np.abs(apart).max()
    return x if 1e-6 < size < 1e6 else apart / size


def _without_head(model: Layer) -> Layer:
    """`model` without its last layer, over the same layers and on the same engine."""
    keys, last, path = (), model, ""
    while names := spine(last) or (tuple(last.children()) if last.wiring is None else ()):  # else it has several ends
        path, last = join(path, last.level(names[-1])), last.children()[names[-1]]
        keys += (names[-1],)
    if not isinstance(last, Linear) or not keys:
        name = f"{path} ({last.label})" if path else last.label
        raise UsageError(f"features are what enters a Linear layer at the model's end: it ends in {name}")
    return part(model, keys, Flatten())  # which leaves the (N, D) that enter a Linear as they are
