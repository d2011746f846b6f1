"""A layer and a container of your own, each checked against finite differences.

    python examples/custom_layer.py

Change a sign in a backward pass and run it again: the check says which gradient is wrong, and where.
"""

import numpy as np

import minidl as md


class PReLU(md.Layer):
    """y = x where x > 0, else slope x, with a learned slope for each channel.

    Shapes: x (..., C), slope (C,), y (..., C).

    Backward:  dx     = dy (1 where x > 0, else slope)
               dslope = sum over all but C of  dy min(x, 0)

    Source: He et al., Delving deep into rectifiers, 2015, section 2.1.
    """

    def __init__(self, channels, dtype=np.float32):
        self.slope = md.Parameter(np.full(channels, 0.25, dtype), tags=["norm"])  # "norm": no weight decay

    def forward(self, x, ctx):
        y = np.maximum(x, 0) + self.slope.value * np.minimum(x, 0)
        return y, (x if ctx.keeps_cache else None)  # INFER has no way back, so nothing is kept

    def backward(self, dy, cache, need_dx=True):
        below = dy * np.minimum(cache, 0)
        self.slope.grad += below.sum(axis=tuple(range(below.ndim - 1)))  # (..., C) -> (C,)
        return self.input_grad(dy, cache) if need_dx else None

    def input_grad(self, dy, cache):
        return dy * np.where(cache > 0, 1, self.slope.value)


class ReZero(md.Layer):
    """y = x + gate f(x) with a learned number `gate` that starts at 0: a new block doesn't disturb the others.

    Backward:  dx = dy + J_f' (gate dy),   dgate = sum dy f(x)

    Source: Bachlechner et al., ReZero is all you need, 2020.
    """

    def __init__(self, body, dtype=np.float32):
        self.body = body  # a layer in an attribute is a child, named after it
        self.gate = md.Parameter(np.zeros(1, dtype), tags=["norm"])

    def out_shape(self, in_shape):
        return self.body.out_shape(in_shape)

    def forward(self, x, ctx):
        f, cache = ctx.run("body", self.body, x)  # so that errors and dropout know the name
        return x + self.gate.value * f, ((f, cache) if ctx.keeps_cache else None)

    def backward(self, dy, cache, need_dx=True):
        f, body_cache = cache
        self.gate.grad += (dy * f).sum()
        dx = self.body.backward(self.gate.value * dy, body_cache, need_dx)
        return dy + dx if need_dx else None

    def input_grad(self, dy, cache):
        return dy + self.body.input_grad(self.gate.value * dy, cache[1])

    def project(self, s, cache, rule):  # gradient, guided and deconvnet: as input_grad, by the children's rules
        return s + self.body.project(self.gate.value * s, cache[1], rule)


def build(classes: int = 4, dtype: type = np.float32) -> md.Sequential:
    """A network of them, for images (N, H, W, 3)."""
    conv = md.Conv2D(8, 8, 3, padding=1, bias=False, rng=1, dtype=dtype)
    body = md.Sequential({"conv": conv, "bn": md.BatchNorm2D(8, dtype=dtype), "relu": md.ReLU()})
    return md.Sequential(
        {
            "stem": md.Conv2D(3, 8, 3, stride=2, rng=0, dtype=dtype),
            "prelu": PReLU(8, dtype),
            "block": ReZero(body, dtype),
            "avgpool": md.GlobalAvgPool(),
            "fc": md.Linear(8, classes, rng=2, dtype=dtype),
        }
    )


def main() -> float:
    """Prints the checks, and returns the worst relative error."""
    model = build(dtype=np.float64)  # single precision is too coarse for finite differences
    model["block"].gate.value[...] = 0.5  # at 0 nothing would reach the body
    report = md.gradcheck(model, np.random.default_rng(0).normal(size=(2, 9, 9, 3)))
    print(model, report, sep="\n\n")
    return report.error


if __name__ == "__main__":
    main()
