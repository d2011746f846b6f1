# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 10. Gradient checks, and how they fool you
#
# **You need:** [chapter 1](01_linear.py), where one derivative was measured, [chapter 6](06_batch_norm.py) for batch
# normalization and [chapter 7](07_pooling.py) for pools.
#
# **Afterwards you can** check any backward pass without knowing the answer, choose a good step, tell a bug from a
# kink, and name the bugs that a gradient check doesn't see.
#
# It takes about 20 minutes.
#
# A backward pass with a bug rarely crashes. It returns an array of the right shape, and the loss falls, but not as
# far as it could. A gradient check finds such bugs. It needs no secret answer: the forward pass is enough.

# %%
import numpy as np

import charts
import minidl as md
from minidl.diagnostics.gradcheck import spaced
from minidl.diagnostics.numeric import central_difference, numeric_gradient
from minidl.kernels import reference
from minidl.learn import show

# %% [markdown]
# ## Measure a derivative
#
# The derivative of f at x says how fast f changes there. So change x a little and look. For f(x) = x³ at x = 1 the
# right answer is 3 x² = 3. With a step h = 0.01 there are two ways:
#
#     one-sided:   (f(1.01) - f(1)) / 0.01       = 0.030301 / 0.01 = 3.0301
#     central:     (f(1.01) - f(0.99)) / 0.02    = 0.060002 / 0.02 = 3.0001
#
# The central one costs the same, two values of f, and is 300 times nearer. Why? To the right of x the curve is a
# little steeper than at x, and to the left a little flatter. If we look at both sides, the two errors cancel. What
# remains is of the order h², here 0.0001.


# %%
def cube(x):
    return x * x * x


h = 0.01
one_sided = (cube(1 + h) - cube(1.0)) / h
central = (cube(1 + h) - cube(1 - h)) / (2 * h)
forgotten = (cube(1 + h) - cube(1 - h)) / h
print(f"one-sided {one_sided:.4f}, central {central:.4f}, the 2 forgotten {forgotten:.4f}")
assert (round(one_sided, 4), round(central, 4), round(forgotten, 4)) == (3.0301, 3.0001, 6.0002)

# %% [markdown]
# Forget the 2 in 2h, and the result is 6.0002. So if the check says that *everything* is wrong by a factor of 2, look
# at the check before you look at the layer. Another such factor comes from moving x in place and moving it back only
# half the way:


# %%
def moved_in_place(f, x, step):
    x[0] += step
    up = f(x[0])
    x[0] -= step  # should be 2 step: from x + step to x - step
    down = f(x[0])
    return (up - down) / (2 * step)


half = moved_in_place(cube, np.array([1.0]), 0.01)
print(f"half of it: {half:.3f}")
assert np.isclose(half, 1.51505)

# %% [markdown]
# The project has two functions for this. The first one takes a *direction*: an array u of x's shape. All entries of x
# move at once, each as far as u says. If u is a unit vector (1 in one entry, 0 in all others), the result is the
# derivative with respect to this entry. `numeric_gradient` does that for every entry.

# %%
show(central_difference, numeric_gradient)
measured = numeric_gradient(lambda x: (x**3).sum(), np.array([1.0, 2.0, 3.0]))
print(measured)
assert np.allclose(measured, [3, 12, 27])

# %% [markdown]
# ## Any step? No.
#
# A smaller step has a smaller error, so why not 10⁻¹⁵? Because a computer rounds. A float64 number has about 16
# digits. f(1 + h) and f(1 - h) agree in most of them, and the difference keeps only the rest. Its rounding error is
# then divided by the tiny 2h. So there are two errors:
#
# - the *curve*: about h², which falls as h becomes smaller;
# - the *rounding*: about 10⁻¹⁶ / h, which grows.
#
# They meet near h = 10⁻⁵. There the error is about 10⁻¹⁰, and that is why 10⁻⁵ is the usual step in minidl.

# %%
steps = 10.0 ** np.arange(-15, 0.1, 0.25)


def error(f, one, steps, central=True):
    """|measured - 3| of x³ at `one` = 1, whose type is also the precision, for each step."""
    errors = []
    for step in steps:
        step = type(one)(step)
        right, left = one + step, one - step if central else one
        measured = (f(right) - f(left)) / type(one)(2 if central else 1) / step
        errors.append(abs(float(measured) - 3))
    return np.array(errors)


coarse = steps[steps > 3e-8]
charts.errors(
    {
        "one-sided, float64": (steps, error(cube, np.float64(1), steps, central=False)),
        "central, float64": (steps, error(cube, np.float64(1), steps)),
        "central, float32": (coarse, error(cube, np.float32(1), coarse)),
    }
)

assert error(cube, np.float64(1), [1e-5])[0] < 1e-9
assert error(cube, np.float64(1), [1e-2])[0] > 9e-5 and error(cube, np.float64(1), [1e-13])[0] > 1e-5

# %% [markdown]
# The one-sided line falls more slowly than the central one: its error is proportional to h, not to h².
#
# float32 has only 7 digits (the third line). Its best step is near 0.003, and even there the error is about 10⁻⁵.
# With a step that is good for float64, float32 gives nonsense: near 1, its numbers lie 0.00000012 apart. So with h =
# 10⁻⁷ neither 1 + h nor 1 - h is where it should be, and the result is 3.58:

# %%
h = np.float32(1e-7)
nonsense = (cube(np.float32(1) + h) - cube(np.float32(1) - h)) / (2 * h)
print(f"float32, h = 1e-7: {nonsense:.2f} in place of 3")
assert round(float(nonsense), 2) == 3.58

# %% [markdown]
# So **check in float64**, even if you train in float32. Every layer of minidl that has parameters takes
# `dtype=np.float64` for this.
#
# ## From a number to a layer
#
# A layer has an array y, but a derivative needs a single number L. Take a random array dy, and let
#
#     L = sum of y dy
#
# Then dL/dy is exactly dy, because each y stands in L once, with the factor dy. So dx and dw, as
# `backward(dy, cache)` computes them, must be the derivatives of this L. Here is a check of a convolution's dw in
# three lines:

# %%
rng = np.random.default_rng(0)
x, w, dy = rng.normal(size=(2, 5, 5, 3)), rng.normal(size=(3, 3, 3, 4)), rng.normal(size=(2, 3, 3, 4))
dw = reference.conv2d_dw(x, dy, w.shape, stride=1, padding=0)
measured = numeric_gradient(lambda w: (reference.conv2d(x, w, stride=1, padding=0) * dy).sum(), w)
print(f"largest difference {abs(dw - measured).max():.0e}, largest entry {abs(dw).max():.1f}")
assert abs(dw - measured).max() < 1e-7

# %% [markdown]
# That took two forward passes for each of the 108 weights. A network has millions. So a check also uses a trick: move
# everything at once along one *random direction*, w along u and x along v. The derivative must be sum(dw u) + sum(dx
# v). In this one measurement an error anywhere shows. If there is one, single entries tell where.
#
# `md.gradcheck` does both, for any layer or network:

# %%
print(md.gradcheck(md.Conv2D(3, 4, 3, rng=0, dtype=np.float64), x))

# %% [markdown]
# In the table, `analytic` is what `backward` returned and `numeric` what was measured, for the worst of the entries
# that were checked; `everything` is the random direction.
#
# What is a small error? An absolute difference of 0.001 is nothing if the gradient is 1,000, and everything if it is
# 0.001. So the difference is divided by the size of the gradient. As a rule of thumb for the relative error, with
# step 10⁻⁵ in float64:
#
# | relative error | what it means |
# |---|---|
# | below 10⁻⁷ | right |
# | 10⁻⁷ to 10⁻³ | suspicious: a kink, float32 somewhere, or a small term that is missing |
# | above 10⁻³ | wrong |
#
# ## The check fails, but the layer is right
#
# ### You stand on a kink
#
# ReLU has slope 0 on the left of 0, and slope 1 on the right. *At* 0 a central difference averages both and says 0.5,
# whatever the layer does. And if x is 0.000003 and the step is 0.00001, one end lies on the other side of the kink:
#
#     (relu(0.000013) - relu(-0.000007)) / 0.00002 = 0.000013 / 0.00002 = 0.65


# %%
def relu_sum(x):
    return np.maximum(x, 0).sum()


on_the_kink = central_difference(relu_sum, np.array([0.0]), np.array([1.0]))
beside_it = central_difference(relu_sum, np.array([3e-6]), np.array([1.0]))
print(f"at 0: {on_the_kink:.2f}, at 0.000003: {beside_it:.2f}")
assert np.isclose(on_the_kink, 0.5) and np.isclose(beside_it, 0.65)

# %%
charts.kink()

# %% [markdown]
# In the picture the blue point is x, and the orange line joins the two ends of the difference. In a network with
# thousands of ReLUs, some input is always that near to 0. There are two ways out.
#
# - For a single layer, choose inputs that stay away from kinks. `spaced` makes random numbers that are at least 0.01
#   apart from each other and from 0.
# - For a network, notice it. The cache of a ReLU is its mask, and the cache of a max pool its index. If one of them
#   differs between x + h and x - h, a kink lies in between. `md.gradcheck` then skips this direction, tries another,
#   and reports how many it skipped. If nothing is left, the error is infinite: nothing was checked.

# %%
show(spaced)
bad, good = np.full((1, 4), 3e-6), spaced(rng, (1, 4))
print(md.gradcheck(md.ReLU(), bad))
print(md.gradcheck(md.ReLU(), good))
assert md.gradcheck(md.ReLU(), bad).skipped_share == 1 and md.gradcheck(md.ReLU(), good).error < 1e-7

# %% [markdown]
# ### Ties
#
# A max pool has its kink where two numbers of a window are equal. On a constant window of 2x2, every central
# difference says 0.5: raise a pixel, and y rises; lower it, and y stays. The sum over the four pixels is 2. But if
# all four rise together, y rises just once. So here the measured numbers are no gradient at all.

# %%
flat = np.ones((1, 2, 2, 1))
measured = numeric_gradient(lambda x: reference.max_pool(x, 2, 2, 0)[0].sum(), flat)
together = central_difference(lambda x: reference.max_pool(x, 2, 2, 0)[0].sum(), flat, np.ones_like(flat))
print("each by itself:", measured.ravel(), " all together:", together)
assert np.allclose(measured, 0.5) and np.isclose(together, 1)

# %% [markdown]
# ### Numbers drawn anew
#
# Dropout draws a mask. If the two forward passes of a difference draw *different* masks, the difference is huge: it
# compares two different functions. Let both draw the same one. (In minidl the mask depends on the seed and the step,
# and `md.gradcheck` gives both passes the same.)
#
# ## The check passes, but the layer is wrong
#
# This is the worse case, because nobody looks any further.
#
# ### dy = 1 hides a whole path
#
# It is tempting to take L = sum(y), that is dy = 1. Now think of batch normalization. With gamma = 1 and beta = 0,
# its outputs always add up to 0, whatever x is. So this L is constant, and dx = 0. A backward pass may be badly wrong
# and still return 0. Here is one in which the path through the variance is missing (compare chapter 6):


# %%
def right(dy, xhat, inv_std):
    return inv_std * (dy - dy.mean() - xhat * (dy * xhat).mean())


def without_variance(dy, xhat, inv_std):
    return inv_std * (dy - dy.mean())


def normalize(x):
    mean, var = reference.batch_statistics(x)
    return (x - mean) / np.sqrt(var), 1 / np.sqrt(var)


x = np.array([[1.0], [2.0], [3.0]])
xhat, inv_std = normalize(x)
for dy in (np.ones((3, 1)), np.array([[1.0], [0.0], [0.0]])):
    measured = numeric_gradient(lambda x, dy=dy: (normalize(x)[0] * dy).sum(), x)
    print("dy", dy.ravel(), " measured", measured.ravel().round(3), end=" ")
    print("right", right(dy, xhat, inv_std).ravel().round(3), end=" ")
    print("without variance", without_variance(dy, xhat, inv_std).ravel().round(3))
assert np.allclose(without_variance(np.ones((3, 1)), xhat, inv_std), 0)
assert np.allclose(right(dy, xhat, inv_std).ravel(), [0.204, -0.408, 0.204], atol=5e-4)
assert np.allclose(without_variance(dy, xhat, inv_std).ravel(), [0.816, -0.408, -0.408], atol=5e-4)

# %% [markdown]
# The same happens to a softmax, whose outputs add up to 1. **Take a random dy.**
#
# ### Assigned, not added
#
# A layer must *add* its gradient to `grad`, because it may be used twice in a network, and because a gradient may
# come from several batches. This one assigns:


# %%
class Scale(md.Layer):
    """y = x w, with one number w for each channel. Its backward has a bug."""

    def __init__(self, channels):
        self.w = md.Parameter(np.full(channels, 2.0))

    def forward(self, x, ctx):
        return x * self.w.value, (x if ctx.keeps_cache else None)

    def backward(self, dy, cache, need_dx=True):
        self.w.grad[...] = (dy * cache).sum(axis=tuple(range(dy.ndim - 1)))  # wrong: should be +=
        return self.input_grad(dy, cache) if need_dx else None

    def input_grad(self, dy, cache):
        return dy * self.w.value


x = rng.normal(size=(2, 4, 5, 3))
scale = Scale(3)
alone = md.gradcheck(scale, x)
twice = md.gradcheck(md.Sequential({"first": scale, "second": scale}), x)
print(f"alone: {alone.error:.0e}, the same layer twice in a row: {twice.error:.2f}")
assert alone.error < 1e-7 and twice.error > 0.1

# %% [markdown]
# The check starts with gradients of zero, and then `=` and `+=` are the same. It passes. There are two remedies: use
# the layer twice in a row, as above, or call `backward` when `grad` isn't zero:

# %%
y, cache = scale.forward(x, md.PROBE)
scale.w.grad[...] = 100.0
scale.backward(np.ones_like(y), cache)
added = 100 + x.sum(axis=(0, 1, 2))
print("grad", scale.w.grad.round(2), " should be", added.round(2))
assert not np.allclose(scale.w.grad, added)

# %% [markdown]
# ### Wrong in the same way, forward and backward
#
# A gradient check compares backward with forward. If an average pool divides by K in place of K², in both, then its
# backward is the perfect gradient of the wrong function. Only a value of y that you know shows the bug: the mean of
# 1, 2, 3, 4 is 2.5.
#
# ### Inputs that are too nice
#
# - **Square everything**: if KH = KW, H = W or C = F, then exchanged axes go unnoticed. Take 5 x 7 pixels, 3
#   channels, 4 filters.
# - **Sizes that fit**: with stride 2 on 5 pixels, a window of 2 leaves a pixel over. Its dx must be 0, and dx must
#   still have its place. With 4 pixels nobody notices.
# - **No equal numbers**: see `x == max` in chapter 7.
# - **Contiguous arrays**: a slice such as x[:, ::2] or a transposed array is laid out differently in memory. Code
#   that uses `reshape` and then writes may write into a copy.
#
# In minidl, `tests/layers/test_gradients.py` runs all layers over many such shapes, layouts and modes.
#
# ## What to remember
#
# - Central differences, float64, step 10⁻⁵, a random dy.
# - A failure near a kink or a tie says nothing. Move away, or skip.
# - A pass says: backward fits forward, at this point, for this shape, from zero gradients. No more.
#
# ## Exercises
#
# - `central_difference`: measure the derivative of a function along a direction.
# - `numeric_gradient`: measure the derivative with respect to every entry of an array.
#
# In a terminal, in the folder that `minidl learn start my-exercises` has made:
#
# ```sh
# minidl learn check central_difference      # is it right? If not: what is wrong
# minidl learn hint central_difference       # a first hint; again for a second and a third
# ```
