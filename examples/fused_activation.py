"""An activation of your own in the fast engine: a plain layer, its form for tiles, and a proof that they are equal.

python examples/fused_activation.py
"""

import numpy as np

import minidl as md
from minidl.engine.blocks.activation import Activation, register


class ELU(md.Layer):
    """y = x where x > 0, and exp(x) - 1 elsewhere. dx = dy min(y + 1, 1). Source: Clevert et al., 2015."""

    def forward(self, x, ctx):
        y = np.where(x > 0, x, np.expm1(np.minimum(x, 0)))
        return y, (y if ctx.keeps_cache else None)

    def input_grad(self, dy, cache):
        return dy * np.minimum(cache + 1, 1)


class TileELU(Activation):
    """The same in place, with its slope. It rises everywhere, so a max pool after it may come first."""

    slope_dtype = None  # that of u; ReLU's slope is bool

    def __init__(self, layer): ...

    def forward(self, u, slope, scratch):
        below = np.minimum(u, 0, out=scratch("elu", u.shape, u.dtype))
        np.maximum(u, np.expm1(below, out=below), out=u)  # exp(u) - 1 is at least u
        if slope is not None:
            np.minimum(u, 0, out=slope)
            slope += 1


register(ELU, TileELU)


def main() -> float:
    """The largest difference between the plain and the fused network, relative: output, dx and all gradients."""
    conv, last = (md.Conv2D(c, 8, 3, padding=1, rng=c, dtype=np.float64) for c in (3, 8))
    layers = [conv, md.BatchNorm2D(8, dtype=np.float64), ELU(), md.MaxPool2D(2, 2)]
    plain = md.Sequential([*layers, last, md.BatchNorm2D(8, dtype=np.float64), ELU()])
    x, found = np.random.default_rng(0).normal(size=(6, 9, 8, 3)), []
    for net in (plain, md.fuse(plain)):
        net.zero_grad()
        y, cache = net.forward(x, md.TRAIN.at_step(0))
        found.append([y, net.backward(np.cos(y), cache), *(p.grad.copy() for p in net.named_parameters().values())])
    print(net)
    return max(float(np.abs(a - b).max() / (1 + np.abs(a).max())) for a, b in zip(*found, strict=True))


if __name__ == "__main__":
    print("largest difference from the plain layers:", main())
