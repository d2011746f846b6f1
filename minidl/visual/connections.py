"""Which units feed which: the weights that lead to every unit of a network, and those that lead from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from minidl.engine import unfuse
from minidl.layers.base import Layer, Shape
from minidl.layers.convert import convert
from minidl.visual.tracing import Matrices, Units, Walk
from minidl.visual.truncate import layer_table, truncate

Link = tuple[str, int, float]  # (layer, unit, weight)


@dataclass
class Connections:
    """The weights between the units of `layers`, the layers that were asked for.

    weights    by (layer, layer that it reads): float64 (units, units of the layer that it reads). A unit that none of
               `layers` has is under the name of the last layer that has it; with " (input)" after the name it is
               something that a container has computed for this layer.
    units      which units the channels of a layer are: mostly its own. Those of a pool or of a Concat are units of
               the layers before it.
    """

    layers: list[str]
    weights: dict[tuple[str, str], np.ndarray]
    units: dict[str, Units]

    def incoming(self, layer: str, n: int = 10) -> list[list[Link]]:
        """For each unit of `layer` the n weights of largest magnitude that lead to it: (layer, unit, weight)."""
        return self._strongest(layer, n, self.weights, 0)

    def outgoing(self, layer: str, n: int = 10) -> list[list[Link]]:
        """For each unit of `layer` the n weights of largest magnitude that lead from it: (layer, unit, weight)."""
        return self._strongest(layer, n, {pair: w.T for pair, w in self.weights.items()}, 1)

    def _strongest(
        self, layer: str, n: int, weights: dict[tuple[str, str], np.ndarray], end: int
    ) -> list[list[Link]]:
        """The n largest in each row of `weights`; `layer` is the pair's `end`, and the links name the other one."""
        found: dict[str, list[list[Link]]] = {}
        for made_in in dict.fromkeys(self.units[layer].layers):
            of = {pair[1 - end]: w for pair, w in weights.items() if pair[end] == made_in}
            found[made_in] = _largest(of, n)
        made = zip(self.units[layer].layers, self.units[layer].numbers.tolist(), strict=True)
        return [found[made_in][unit] if found[made_in] else [] for made_in, unit in made]


def _largest(weights: Matrices, n: int) -> list[list[Link]]:
    """For each row of all matrices the n numbers of largest magnitude, without zeros."""
    if not weights:
        return []
    names = [(name, unit) for name, w in weights.items() for unit in range(w.shape[1])]
    rows = np.hstack(list(weights.values()))
    order = np.argsort(-np.abs(rows), axis=1, kind="stable")[:, :n]
    return [
        [(*names[i], float(row[i])) for i in best if row[i]] for row, best in zip(rows, order.tolist(), strict=True)
    ]


def connections(model: Layer, image_shape: Shape, layers: Sequence[str] | None = None) -> Connections:
    """The weights between the units of `layers` of `model`, for images (H, W, C).

    layers    None: those of `unit_layers`

    The weight from unit c to unit f of a convolution w (KH, KW, C, F) or of a linear layer w (C, F), with the
    scales of the batch normalizations folded in, before it (s) and after it (t):

        W[f,c] = sign(sum over kh,kw of w'[kh,kw,c,f]) sqrt(sum over kh,kw of w'[kh,kw,c,f]^2),
        w'[kh,kw,c,f] = t[f] s[c] w[kh,kw,c,f],    scale of a channel = gamma / sqrt(running_var + eps)

    So the magnitude is the L2 norm of the kernel, and the sign says whether c excites or inhibits f. A linear layer
    after a Flatten has many weights for each c, which count as a kernel. Of two layers with the same units, such as a
    convolution and its ReLU, the first one of `layers` has them. Where arrays are added up (a residual block), the
    sums are units, and the weight is the factor of each term.

    Nothing is known of the weights in layers of other kinds, and the pixels are no units. Pools and activations
    between two units are not in the weights.
    Source: Li et al., Pruning filters for efficient ConvNets, 2017, takes such norms as the strength of kernels;
    Olah et al., Zoom in: an introduction to circuits, 2020, shows the weights between units.
    Raises UsageError for an unknown layer.
    """
    plain = convert(unfuse(model), xp=np)
    layers = unit_layers(plain, image_shape) if layers is None else list(layers)
    for name in layers:
        truncate(plain, name)  # raises the error of a name that there isn't
    walk = Walk(plain, image_shape, keep=layers)
    weights = {
        (reader, read): w.T
        for reader, matrices in walk.matrices.items()
        if reader not in walk.replaced
        for read, w in matrices.items()
    }
    return Connections(layers, weights, {name: walk.units[name] for name in layers})


def unit_layers(model: Layer, image_shape: Shape) -> list[str]:
    """The layers of `layer_table` that have units of their own, each unit once.

    Of all layers that have the same units in the same places it is the last: after batch normalization and
    activation, before pools.
    """
    plain = convert(unfuse(model), xp=np)
    names = [row.name for row in layer_table(plain, image_shape)]
    walk = Walk(plain, image_shape, keep=(), among=names)
    return [name for name in names if name in walk.matrices and name not in walk.replaced]
