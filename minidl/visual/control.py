"""The control of a picture: the same picture by a network that has learned nothing.

Deconvnets and guided backpropagation partly recover the image whatever the weights are (Nie et al. 2018). Adebayo et
al. proposed a test: draw all weights anew, make the picture again, and measure how alike the two are. A picture that
stays the same says something about the image and the architecture, and nothing about what was learned.

Sources: Adebayo et al., Sanity checks for saliency maps, 2018 (the model parameter randomization test); Nie, Zhang &
Patel, A theoretical explanation for perplexing behaviors of backpropagation-based visualizations, 2018.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from minidl.data.base import Split
from minidl.data.loader import normalise
from minidl.engine import fuse, unfuse
from minidl.errors import UsageError
from minidl.layers import BatchNorm2D, Conv2D, GeneralConv2D, Layer, Linear
from minidl.layers.base import TRAIN
from minidl.layers.convert import convert
from minidl.layers.frozen import thawed
from minidl.layers.init import he_normal

IMAGES, BATCH = 256, 32  # for the statistics of a random network
SEED = 1_000_003  # by which hardly any training begins: its first weights and its last ones are not independent


def some_images(split: Split, mean: np.ndarray, std: np.ndarray) -> Iterator[np.ndarray]:
    """Batches for `randomised`: IMAGES images spread over the split, or all if it has fewer; see `normalise`."""
    positions = np.linspace(0, len(split) - 1, min(IMAGES, len(split))).astype(int)
    for part in np.array_split(positions, -(-len(positions) // BATCH)):
        yield normalise(split.images(part), mean, std)


def randomised(
    model: Layer,
    batches: Iterable[np.ndarray],
    fresh: Callable[[int], Layer] | None = None,
    *,
    seed: int = SEED,
    threads: int = 0,
) -> Layer:
    """The network `model` before any training, as plain layers on the host; `model` doesn't change.

    batches   images (n, H, W, C) as the network takes them. A trained network's batch normalizations have seen many
              images, so those of the new one get statistics too: a TRAIN pass for each batch b, and then

                  running_mean = mean over b of mean_b,    running_var = mean over b of M / (M - 1) var_b

              with mean_b and var_b the moments of the batch's M numbers for a channel. So the order of the batches
              makes no difference. Without any, the statistics are 0 and 1.
    fresh     fresh(seed) is a new network of the same architecture, with weights from its own initialiser. Without
              it, each layer is drawn anew: the weights of convolutions and Linear as their classes draw them, biases
              0, BN's gamma 1 and beta 0. What another class draws is unknown: its parameters keep their numbers,
              in random order.
    threads   of the TRAIN passes; 0: all cores

    Raises UsageError if the network of `fresh` has other parameters than `model`.
    """
    dtypes = {p.dtype for p in model.named_parameters().values()}
    new = unfuse(model if fresh is None else fresh(seed))
    new = convert(new, xp=np, dtype=dtypes.pop() if len(dtypes) == 1 else None)
    own, drawn = ({name: p.shape for name, p in m.named_parameters().items()} for m in (model, new))
    if own != drawn:
        name = sorted(own.items() ^ drawn.items())[0][0]
        raise UsageError(f"fresh: its {name} is {drawn.get(name)}, and that of the model {own.get(name)}")
    if fresh is None:
        rng = np.random.default_rng(seed)
        for layer in {id(layer): layer for _, layer in new.places()}.values():
            _draw(layer, rng)
    _take_statistics(new, batches, threads)
    return new


def _draw(layer: Layer, rng: np.random.Generator) -> None:
    """New values for the layer's own parameters, in place."""
    for name, p in layer.params.items():
        shape = p.shape
        if isinstance(layer, Conv2D | GeneralConv2D | Linear) and name in ("weight", "bias"):
            fan_in = int(np.prod(shape[:-1])) * (2 if isinstance(layer, Linear) else 1)  # see Linear
            p.value[...] = he_normal(rng, shape, fan_in) if name == "weight" else 0
        elif isinstance(layer, BatchNorm2D) and name in ("gamma", "beta"):
            p.value[...] = 1 if name == "gamma" else 0
        else:
            p.value[...] = rng.permutation(p.value.ravel()).reshape(shape)


def _take_statistics(model: Layer, batches: Iterable[np.ndarray], threads: int) -> None:
    """See `randomised`."""
    norms = [layer for layer in model.leaves() if isinstance(layer, BatchNorm2D)]
    momenta, moments = [norm.momentum for norm in norms], []  # moments: of each batch, of each BN
    for norm in norms:
        norm.buffers["running_mean"][...], norm.buffers["running_var"][...] = 0, 1
        norm.momentum = 1  # after a pass, the running statistics are those of its batch
    running = fuse(thawed(model), threads)  # inside Frozen, BN would not look at the batch
    for step, x in enumerate(batches):
        running.forward(x, TRAIN.at_step(step))
        moments.append([{name: b.copy() for name, b in norm.buffers.items()} for norm in norms])
    for i, (norm, momentum) in enumerate(zip(norms, momenta, strict=True)):
        norm.momentum = momentum
        for name, b in norm.buffers.items() if moments else ():
            b[...] = np.mean([batch[i][name] for batch in moments], axis=0, dtype=np.float64)


def likeness(trained: np.ndarray, random: np.ndarray) -> np.ndarray:
    """How alike each two pictures are, (...), by the trained and by the random network: (..., H, W, C) each.

    It is Spearman's rank correlation of the magnitudes m = sum over C of |g|, in [-1, 1]:

        r = cov(R(m), R(m')) / (std(R(m)) std(R(m'))),    R(m) the ranks of the H W pixels; equal ones share the mean

    1: both pictures find the same pixels strong and weak. 0: they have nothing to do with each other. NaN: one of
    them is blank, or equal everywhere, and has no ranks.

    How to read it: compare it with `null`. A picture whose likeness is far above that comes from the image and the
    architecture, whatever the network has learned. Near it, the picture does depend on what was learned, which
    doesn't mean that it is a good explanation. Adebayo et al. use this measure, among others.
    """
    return _dot(_standard_ranks(trained), _standard_ranks(random))


def null(trained: np.ndarray, random: np.ndarray) -> np.ndarray:
    """The null distribution of `likeness`, (..., n), from pictures (..., n, H, W, C) of n images by each unit.

    The trained picture of an image is compared with the random picture of the unit's next one (after the last comes
    the first). So what is alike here is not the image: margins that a unit never sees, centres that it always does.
    NaN if n = 1.
    """
    if trained.shape[-4] == 1:
        return np.full(trained.shape[:-3], np.nan)
    return _dot(_standard_ranks(trained), np.roll(_standard_ranks(random), -1, axis=-2))


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("...p,...p->...", a, b)


def _standard_ranks(pictures: np.ndarray) -> np.ndarray:
    """The ranks of the pixels' magnitudes, as rows with mean 0 and norm 1; NaN where all are equal. (..., H W)."""
    *leading, h, w, c = pictures.shape
    magnitudes = np.abs(pictures) @ np.ones(c, pictures.dtype)  # six times as fast as sum(axis=-1)
    ranks = np.empty((*leading, h * w))
    for m, r in zip(magnitudes.reshape(-1, h * w), ranks.reshape(-1, h * w), strict=True):  # (..., H, W) -> (P, H W)
        _rank(m, r)
        r -= (h * w - 1) / 2
        r /= np.sqrt(r @ r) or np.nan
    return ranks


def _rank(m: np.ndarray, out: np.ndarray) -> None:
    """Ranks from 0 on; equal numbers share the mean of theirs. `scipy.stats.rankdata` takes twice as long."""
    order = m.argsort()
    rises = np.diff(m[order]) > 0
    edges = np.concatenate([[0], np.flatnonzero(rises) + 1, [len(m)]])  # where numbers that are equal begin
    out[order] = np.repeat((edges[1:] + edges[:-1] - 1) / 2, np.diff(edges))
