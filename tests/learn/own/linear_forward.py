"""Wrong answers to linear_forward; each says first which diagnosis it must get."""

import numpy as np


def wrong_without_bias(self, x, ctx):
    """typical bias missing: a loop over the images, and no bias"""
    w = self.params["weight"].value
    y = np.stack([sum(row[d] * w[d] for d in range(len(row))) for row in x])
    return y, x if ctx.keeps_cache else None


def wrong_needs_bias(self, x, ctx):
    """typical bias required: asks for the bias of every layer"""
    w, b = self.params["weight"].value, self.params["bias"].value
    return np.einsum("nd,dk->nk", x, w) + b, x if ctx.keeps_cache else None


def wrong_as_torch(self, x, ctx):
    """typical weight transposed: F.linear's layout"""
    y = np.matmul(x, self.params["weight"].value.transpose())
    if self.params.get("bias") is not None:
        y = y + self.params["bias"].value
    return y, None if not ctx.keeps_cache else x


def wrong_training_only(self, x, ctx):
    """typical cache only in TRAIN: asks for the mode by name"""
    y = np.dot(x, self.params["weight"].value)
    if "bias" in self.params:
        y = y + self.params["bias"].value[None]
    return (y, x) if ctx.mode.name == "TRAIN" else (y, None)


def wrong_always_kept(self, x, ctx):
    """typical cache in INFER: never looks at ctx"""
    bias = self.params["bias"].value if "bias" in self.params else 0
    return x @ self.params["weight"].value + bias, x.copy()


def wrong_only_y(self, x, ctx):
    """kind: returns y without the cache"""
    return x @ self.params["weight"].value


def wrong_bias_into_weight(self, x, ctx):
    """changed: adds the bias to the weight, whatever that may mean, and takes it away again too late"""
    w = self.params["weight"].value
    y = x @ w
    if "bias" in self.params:
        y += self.params["bias"].value
    w += 1
    return y, x if ctx.keeps_cache else None


def wrong_always_double(self, x, ctx):
    """float32: computes in float64 whatever x is"""
    y = x.astype(np.float64) @ self.params["weight"].value
    if "bias" in self.params:
        y += self.params["bias"].value
    return y, x if ctx.keeps_cache else None
