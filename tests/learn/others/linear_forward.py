"""Solutions of linear_forward as different students write them: y = x @ w + b, and the cache."""

import numpy as np


def right_matrix_product(self, x, ctx):
    w = self.params["weight"].value
    out = np.dot(x, w)
    if "bias" in self.params:
        out = out + self.params["bias"].value
    cache = None
    if ctx.keeps_cache:
        cache = x
    return out, cache


def right_einsum(self, x, ctx):
    self.out_shape(x.shape)
    y = np.einsum("nd,dk->nk", x, self.params["weight"].value)
    if "bias" in self.params:
        y += self.params["bias"].value[np.newaxis, :]
    return (y, x) if ctx.keeps_cache else (y, None)


def right_one_sample_after_the_other(self, x, ctx):
    w = self.params["weight"].value
    y = np.empty((len(x), w.shape[1]), dtype=x.dtype)
    for n, row in enumerate(x):
        for k in range(w.shape[1]):
            y[n, k] = (row * w[:, k]).sum()
            if "bias" in self.params:
                y[n, k] += self.params["bias"].value[k]
    return y, (x if ctx.keeps_cache else None)


def right_sum_of_outer_products(self, x, ctx):
    weight = self.params["weight"].value
    total = np.zeros((x.shape[0], weight.shape[1]), x.dtype)
    for d in range(x.shape[1]):
        total += np.multiply.outer(x[:, d], weight[d])
    bias = self.params["bias"].value if "bias" in self.params else 0
    if ctx.keeps_cache:
        return total + bias, x.copy()
    return total + bias, None


def wrong_without_bias(self, x, ctx):
    """forgets to add the bias"""
    y = x.dot(self.params["weight"].value)
    return y, (x if ctx.keeps_cache else None)


def wrong_bias_is_always_there(self, x, ctx):
    """takes for granted that the layer has a bias, and crashes without one"""
    y = np.einsum("ij,jk->ik", x, self.params["weight"].value) + self.params["bias"].value
    if not ctx.keeps_cache:
        return y, None
    return y, x


def wrong_torch_weight(self, x, ctx):
    """multiplies by the transposed weight, as if it were stored (out, in) as in torch"""
    w = self.params["weight"].value
    y = x @ w.T
    if "bias" in self.params:
        y = y + self.params["bias"].value
    return y, (x if ctx.keeps_cache else None)


def wrong_bias_down_the_column(self, x, ctx):
    """adds the bias along the batch axis, which fits only if N = K or N = 1"""
    y = np.matmul(x, self.params["weight"].value)
    if "bias" in self.params:
        b = self.params["bias"].value.reshape(-1, 1)
        y = y + b
    return y, (x if ctx.keeps_cache else None)


def wrong_caches_the_output(self, x, ctx):
    """keeps the output in the cache; the backward pass needs the input"""
    x = x @ self.params["weight"].value
    if "bias" in self.params:
        x += self.params["bias"].value
    return x, (x if ctx.keeps_cache else None)


def wrong_cache_only_for_training(self, x, ctx):
    """keeps the cache in TRAIN mode only; a PROBE pass needs it too"""
    out = np.tensordot(x, self.params["weight"].value, axes=1)
    if "bias" in self.params:
        np.add(out, self.params["bias"].value, out=out)
    return out, (x if ctx.training else None)


def wrong_cache_in_every_mode(self, x, ctx):
    """keeps the cache in INFER mode too, where it must be None"""
    y = x @ self.params["weight"].value
    if "bias" in self.params:
        y += self.params["bias"].value
    return y, x


def wrong_always_float64(self, x, ctx):
    """fills an array of np.zeros without a dtype, so that float32 becomes float64"""
    w = self.params["weight"].value
    n, k = x.shape[0], w.shape[1]
    y = np.zeros((n, k))
    for i in range(n):
        y[i] = x[i] @ w
    if "bias" in self.params:
        y += self.params["bias"].value
    return y, (x if ctx.keeps_cache else None)
