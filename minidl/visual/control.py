"""The control of a picture: the same picture by a network that has learned nothing.

Deconvnets and guided backpropagation partly recover the image whatever the weights are (Nie et al. 2018). Adebayo et
al. proposed a test: draw all weights anew, make the picture again, and measure how alike the two are. A picture that
stays the same says something about the image and the architecture, and nothing about the weights.

Sources: Adebayo et al., Sanity checks for saliency maps, 2018, sections 3 and 4; Nie, Zhang & Patel, A theoretical
explanation for perplexing behaviors of backpropagation-based visualizations, 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from minidl.engine import fuse, unfuse
from minidl.errors import UsageError
from minidl.layers import BatchNorm2D, Conv2D, Layer, Linear
from minidl.layers.base import TRAIN
from minidl.layers.convert import convert
from minidl.layers.frozen import Frozen
from minidl.layers.init import he_normal
from minidl.layers.tree import rebuilt
from minidl.visual.subject import Subject

IMAGES, BATCH = 256, 32  # over which the statistics of a random network are computed


def control_of(subject: Subject, build: Callable[..., Layer], seed: int = 0) -> Layer:
    """The `randomised` network of a checkpoint: `build(name, classes=, dropout=, seed=)` draws its weights.

    `seed` counts the draws; none is the one with which the training began. The statistics are those of IMAGES
    training images, or of the split that is looked at if there are none.
    """
    about = subject.about
    new = about.config.get("seed", 0) + 1 + seed
    initial = build(about.model, classes=len(about.classes), dropout=about.config["dropout"], seed=new)
    return randomised(subject.model, _batches(subject), initial=initial, threads=subject.execution.threads)


def _batches(subject: Subject) -> Iterator[np.ndarray]:
    try:
        split = subject.data.split("train")
    except UsageError:
        split = subject.split
    positions = np.linspace(0, len(split) - 1, min(IMAGES, len(split))).astype(int)  # all classes, if sorted by them
    for part in np.array_split(positions, -(-len(positions) // BATCH)):
        yield subject.normalised(split.images(part))


def randomised(
    model: Layer, batches: Iterable[np.ndarray], *, initial: Layer | None = None, seed: int = 0, threads: int = 0
) -> Layer:
    """The network `model` before any training, as plain layers on the host; `model` doesn't change.

    initial   a new network of the same architecture with the weights that its own initialiser drew. Without it every
              layer is drawn anew from `seed`: the weights of Conv2D and Linear as these classes draw them, biases 0,
              BN's gamma 1 and beta 0. What another class draws is unknown; the numbers of each of its parameters are
              put in random order.
    batches   images (n, H, W, C) as the network takes them. A trained network's batch normalizations have seen many
              images, so those of the new one get statistics, too: a TRAIN pass for each batch, and then

        running_mean = mean over batches of mean_b,    running_var = mean over batches of M / (M - 1) var_b

              with mean_b and var_b the moments of batch b, M numbers for each channel. So the order of the batches
              is of no consequence. Without any, the statistics are 0 and 1.
    threads   of these passes; 0: all cores

    Raises UsageError if `initial` has other parameters than `model`.
    """
    dtypes = {p.value.dtype for p in model.named_parameters().values()}
    new = convert(
        unfuse(model if initial is None else initial), xp=np, dtype=dtypes.pop() if len(dtypes) == 1 else None
    )
    own, drawn = ({name: p.value.shape for name, p in m.named_parameters().items()} for m in (model, new))
    if own != drawn:
        name = sorted(own.items() ^ drawn.items())[0][0]
        raise UsageError(f"initial: {name} is {drawn.get(name)} in it and {own.get(name)} in the model")
    if initial is None:
        rng = np.random.default_rng(seed)
        for layer in {id(layer): layer for layer in (new, *new.named_layers().values())}.values():
            _draw(layer, rng)
    _take_statistics(new, batches, threads)
    return new


def _draw(layer: Layer, rng: np.random.Generator) -> None:
    """New values for the layer's own parameters, in place."""
    for name, p in layer.params.items():
        shape = p.value.shape
        if isinstance(layer, Conv2D | Linear):
            fan_in = int(np.prod(shape[:-1])) * (2 if isinstance(layer, Linear) else 1)  # see Linear
            p.value[...] = he_normal(rng, shape, fan_in, p.value.dtype) if name == "weight" else 0
        elif isinstance(layer, BatchNorm2D):
            p.value[...] = 1 if name == "gamma" else 0
        else:
            p.value[...] = rng.permutation(p.value.ravel()).reshape(shape)


def _take_statistics(model: Layer, batches: Iterable[np.ndarray], threads: int) -> None:
    """See `randomised`."""
    norms = list({id(layer): layer for layer in model.leaves() if isinstance(layer, BatchNorm2D)}.values())
    momenta, moments = [norm.momentum for norm in norms], []  # moments: of each batch, of each BN
    for norm in norms:
        norm.buffers["running_mean"][...], norm.buffers["running_var"][...] = 0, 1
        norm.momentum = 1  # after a pass, the running statistics are those of its batch
    running = fuse(_thawed(model), threads)
    for step, x in enumerate(batches):
        running.forward(x, TRAIN.at_step(step))
        moments.append([{name: b.copy() for name, b in norm.buffers.items()} for norm in norms])
    for i, (norm, momentum) in enumerate(zip(norms, momenta, strict=True)):
        norm.momentum = momentum
        for name, b in norm.buffers.items() if moments else ():
            b[...] = np.mean([batch[i][name] for batch in moments], axis=0, dtype=np.float64)


def _thawed(layer: Layer) -> Layer:
    """The same layers without Frozen around any of them, where BN would not look at the batch."""
    children = {name: _thawed(child) for name, child in layer.children().items()}
    if isinstance(layer, Frozen):
        return children["inner"]
    return rebuilt(layer, children) if children else layer


def likeness(trained: np.ndarray, random: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How alike a unit's pictures by the trained and by the random network are: of the same images (n,), and of
    different ones (n, n - 1).

    trained, random   (n, H, W, C): projections of the same n images for the same unit
    result            Spearman's rank correlation of the magnitudes m = sum over C of |g|, in [-1, 1]:

        r = cov(R(m), R(m')) / (std(R(m)) std(R(m'))),    R(m) the ranks of the H W pixels; equal ones share the mean

    1: both pictures find the same pixels strong and weak, 0: they have nothing to do with each other. NaN if one of
    the two is blank, or equal everywhere: it has no ranks.

    The second result is the null distribution. It compares the trained picture of one image with the random picture
    of another, so what is alike there is not the image: margins that a unit never sees, centres that it always does.
    How to read a likeness: far above the null distribution, the picture comes from the image and the architecture,
    whatever the network has learned.
    """
    table = _standard_ranks(trained) @ _standard_ranks(random).T  # (n, n): trained picture i, random picture j
    same = np.eye(len(table), dtype=bool)
    return table[same], table[~same].reshape(len(table), max(len(table) - 1, 0))


def _standard_ranks(pictures: np.ndarray) -> np.ndarray:
    """The ranks of the pixels' magnitudes, as rows with mean 0 and norm 1; NaN where all are equal. (n, H W)."""
    magnitudes = np.abs(pictures).sum(axis=-1).reshape(len(pictures), -1)  # (n, H, W, C) -> (n, H W)
    centred = np.stack([_ranks(m) for m in magnitudes]) - (magnitudes.shape[1] - 1) / 2
    norms = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    return centred / np.where(norms > 0, norms, np.nan)


def _ranks(m: np.ndarray) -> np.ndarray:
    """Ranks from 0 on; equal numbers share the mean of theirs. A third of the time of `scipy.stats.rankdata`."""
    order = m.argsort()
    rises = np.diff(m[order]) > 0
    edges = np.concatenate([[0], np.flatnonzero(rises) + 1, [len(m)]])  # where numbers that are equal begin
    ranks = np.empty(len(m))
    ranks[order] = np.repeat((edges[1:] + edges[:-1] - 1) / 2, np.diff(edges))
    return ranks
