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
# # 12. Why the fast engine is fast
#
# **You need:** [chapter 4](04_im2col.py) for convolution as one matrix product, [chapter 6](06_batch_norm.py) for
# batch normalization and [chapter 7](07_pooling.py) for max pooling.
#
# **Afterwards you can** say where the time of a training step goes, compute two outputs of a filter with four
# products instead of six, fold a batch normalization into a convolution, and explain why a sum on two threads can
# change in its last bit, and how to prevent it.
#
# It takes about 20 minutes.
#
# The plain layers of the first eleven chapters are the truth: short, and checked. `md.fuse(model)` returns a model
# with the same parameters and the same results that is several times faster. It uses no other tool, only NumPy. This
# chapter shows the four main ideas on small numbers. [docs/fast-engine.md](../fast-engine.md) goes on from here: ten
# kernels of real size that you can run, the engine that is made of them, and what each idea is worth.

# %%
import time

import numpy as np

import later_figures
import minidl as md
from minidl.engine.blocks.batchnorm import fold_batch_norm
from minidl.engine.convolutions.winograd import POINTS, evaluate, winograd_matrices
from minidl.engine.tiles.grid import grid_of, tree_sum
from minidl.engine.tiles.runner import TileRunner
from minidl.learn import show

# %% [markdown]
# ## Idea 1: keep the numbers in the cache
#
# A processor computes faster than its memory delivers. So beside each core there is a small and fast memory, the
# *cache*. (The word has two meanings here. This one is a part of the processor, not what a layer keeps for its
# backward pass.) The part that belongs to one core often holds 1 or 2 megabytes.
#
# Take the output of a convolution: 64 images of 30x30 pixels with 64 channels. That is 64 · 30 · 30 · 64 numbers of 4
# bytes each, together 14.7 MB, far more than the cache. Batch normalization, ReLU and pooling do very little with
# each number: a product, a sum, a comparison. But each of them, as a layer by itself, fetches all 14.7 MB from the
# memory and writes 14.7 MB back. Then the core mostly waits.
#
# One image of it has 0.23 MB. So take one image (or a few: a *tile*) through all steps before the next. Its numbers
# stay in the cache from the first step to the last.

# %%
assert 64 * 30 * 30 * 64 * 4 == 14_745_600 and 30 * 30 * 64 * 4 == 230_400

maps = np.random.default_rng(0).normal(size=(256, 30, 30, 64)).astype(np.float32)  # more than any cache holds
out = np.empty_like(maps)
mean, scale, shift = np.float32(0.1), np.float32(1.5), np.float32(0.5)


def normalize_and_relu(x, out):
    np.subtract(x, mean, out=out)  # four passes over the same numbers
    np.multiply(out, scale, out=out)
    np.add(out, shift, out=out)
    np.maximum(out, 0, out=out)


def whole_batch():
    normalize_and_relu(maps, out)


def tile_by_tile():
    for i in range(len(maps)):
        normalize_and_relu(maps[i], out[i])


def milliseconds(*works, rounds=5):
    """The shortest time of each, measured in turns."""
    times = {work: [] for work in works}
    for _ in range(rounds):
        for work in works:
            begun = time.perf_counter()
            work()
            times[work].append(1000 * (time.perf_counter() - begun))
    return {work.__name__: min(found) for work, found in times.items()}


for name, found in milliseconds(whole_batch, tile_by_tile).items():
    print(f"{name:12} {found:5.1f} ms")

# %% [markdown]
# The same work, the same number of operations; only the order differs. How much it helps depends on your machine, on
# the size of its caches, and on who else uses it. On a busy machine the two times may even come out the other way
# round; then run the cell again. (So nothing in this chapter is asserted about time.)
#
# Tiles have a second use. Two tiles have nothing to do with each other, so two threads can work on two tiles. NumPy
# lets other threads run while it is inside a large operation. With plain layers, only the matrix products use several
# cores, and one core does everything else alone.
#
# There is one obstacle: batch normalization needs the mean of the *whole batch* before it can normalize a single
# pixel. So all tiles must have gone through the convolution before any may go on. That is a *barrier*: the threads
# wait for each other. On the way to the barrier, each tile adds its part to the sums while it is still in the cache.
# (The lanes at the bottom of the picture are idea 4.)

# %%
later_figures.tiles()

# %% [markdown]
# ## Idea 2: fewer products
#
# A filter with three taps g slides over numbers d. Two outputs:
#
#     y0 = d0 g0 + d1 g1 + d2 g2
#     y1 = d1 g0 + d2 g1 + d3 g2
#
# These are six products. *Winograd's* trick needs four:
#
#     m1 = (d0 - d2) g0                    m2 = (d1 + d2) (g0 + g1 + g2) / 2
#     m3 = (d2 - d1) (g0 - g1 + g2) / 2    m4 = (d1 - d3) g2
#     y0 = m1 + m2 + m3                    y1 = m2 - m3 - m4
#
# With d = [1, 2, 3, 4] and g = [1, 10, 100], the example of chapter 3:
#
#     m1 = -2 · 1 = -2           m2 = 5 · 111 / 2 = 277.5
#     m3 = 1 · 91 / 2 = 45.5     m4 = -2 · 100 = -200
#     y0 = -2 + 277.5 + 45.5 = 321        y1 = 277.5 - 45.5 + 200 = 432

# %%
d, g = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.0, 10.0, 100.0])
m1, m2 = (d[0] - d[2]) * g[0], (d[1] + d[2]) * g.sum() / 2
m3, m4 = (d[2] - d[1]) * (g[0] - g[1] + g[2]) / 2, (d[1] - d[3]) * g[2]
print(np.array([m1 + m2 + m3, m2 - m3 - m4]), "by four products;", np.correlate(d, g), "by six")
assert (m1, m2, m3, m4) == (-2, 277.5, 45.5, -200)
assert [m1 + m2 + m3, m2 - m3 - m4] == [321, 432] == np.correlate(d, g).tolist()

# %% [markdown]
# There are more additions now. But the sums of g are computed once for a filter, and used for every pixel. The sums
# of d are computed once for a pixel, and used for all filters: with 64 filters they cost little. And in a real layer
# each "product" is a whole matrix product over the channels. Those are what costs time.
#
# ### Where the trick comes from
#
# Multiply two polynomials: (1 + 10 t + 100 t²)(2 + 3 t). By hand that takes six products of coefficients. The result
# has the degree 3, and a polynomial of degree 3 is determined by its *values* at four points. So evaluate both
# factors at four points, multiply the values, and find the coefficients that belong to them. The points are 0, 1, -1
# and "infinity", which just means the leading coefficient:
#
# | t | first | second | product |
# |---|---|---|---|
# | 0 | 1 | 2 | 2 |
# | 1 | 111 | 5 | 555 |
# | -1 | 91 | -1 | -91 |
# | infinity | 100 | 3 | 300 |
#
# The coefficients c0 to c3 of the product: c0 = 2 and c3 = 300 stand there already. The values at 1 and -1 say
# c0 + c2 = (555 - 91) / 2 = 232 and c1 + c3 = (555 + 91) / 2 = 323. So c2 = 230 and c1 = 23, and the product is
# 2 + 23 t + 230 t² + 300 t³. Four products.

# %%
values = (evaluate(4, 3) @ g) * (evaluate(4, 2) @ np.array([2.0, 3.0]))
print("values", values, " coefficients", np.linalg.solve(evaluate(4, 4), values))
assert values.tolist() == [2, 555, -91, 300]
assert np.allclose(np.linalg.solve(evaluate(4, 4), values), [2, 23, 230, 300])

# %% [markdown]
# Look at what a product of polynomials does: the 2 is multiplied by all of g and put down, the 3 is multiplied by all
# of g and put down one place further on, and where they meet, they add up. You know this from chapter 5: it is the
# *backward* pass of the convolution, dx from dy = [2, 3]. The forward pass is its transpose. Write the product of
# polynomials as matrices, with E for "evaluate", E⁻¹ for "find the coefficients", and u for the numbers 2 and 3:
#
#     product = E⁻¹ ((E g) * (E u)) = M u,        with the matrix  M = E⁻¹ diag(E g) E
#
# The transpose of a product of matrices is the product of their transposes in the opposite order, so y = M.T d is:
#
#     y = E.T ((E g) * (E⁻¹.T d))          in the source:   A.T ((G g) * (B.T d))
#
# (The three E have different widths, since u, g and d have different lengths. diag(v) is the matrix with the numbers
# v on its diagonal: it multiplies entry by entry.) That is all that this function does, for m outputs of a filter
# with k taps. `norm` moves a factor from one matrix to another, to keep the numbers near 1.

# %%
show(evaluate, winograd_matrices)
b_t, g_matrix, a_t = winograd_matrices(kernel=3, m=2)
print("points:", POINTS[:3], "and infinity")
print("B.T", b_t, "G", g_matrix, "A.T", a_t, sep="\n")
y = a_t @ ((g_matrix @ g) * (b_t @ d))
print("y =", y)
assert np.allclose(y, [321, 432])

# %% [markdown]
# You find m1 to m4 in the rows of `B.T` and `G`, up to signs: row 4 has -d1 + d3 where we wrote d1 - d3 above, and
# `A.T` adds it where we subtracted. Any such pair of signs (or factors) cancels.
#
# Larger m saves more: with m = 4, six products do the work of twelve. So why not m = 20? It needs more points, and
# points such as 5 have large powers, which cost float32 its digits. Along two axes the savings multiply: 2x2 outputs
# of a 3x3 filter need 4 · 4 = 16 products instead of 36. But the numbers of additions multiply, too. minidl uses the
# trick along one axis, and along both where many channels are summed up.

# %%
rng = np.random.default_rng(0)
for m in (2, 4, 6):
    b_t, g_matrix, a_t = (matrix.astype(np.float32) for matrix in winograd_matrices(3, m))
    worst = 0.0
    for _ in range(200):
        d, g = rng.normal(size=m + 2).astype(np.float32), rng.normal(size=3).astype(np.float32)
        exact = np.correlate(d.astype(np.float64), g.astype(np.float64))
        worst = max(worst, abs(a_t @ ((g_matrix @ g) * (b_t @ d)) - exact).max() / abs(exact).max())
    print(f"m = {m}: {m + 2} products instead of {3 * m}, largest error in float32 {worst:.0e}")
    assert worst < 1e-4

# %% [markdown]
# ## Idea 3: batch normalization that costs (almost) nothing
#
# **In use** the mean and variance are fixed numbers. Then a batch normalization is y = z · scale + shift for each
# channel, with scale = gamma / √(var + eps) and shift = beta - mean · scale. And z = x @ w comes from a convolution,
# so
#
#     y = (x @ w) · scale + shift = x @ (w · scale) + shift
#
# Multiply the *filters* by scale, once, and the normalization has vanished. This is called folding. An example:
# gamma = 2, beta = 1, mean = 3, var = 4, eps = 0. Then scale = 2 / 2 = 1 and shift = 1 - 3 = -2.

# %%
show(fold_batch_norm)
scale, shift = fold_batch_norm(np.array([2.0]), np.array([1.0]), np.array([3.0]), np.array([4.0]), 0.0)
print("scale", scale, "shift", shift)
assert scale == 1 and shift == -2

# %% [markdown]
# **The max pool comes first.** In the plain network the order is: normalize, ReLU, max pool. Normalizing and ReLU
# treat all pixels of a channel alike, and keep their order: the largest z gives the largest y. So we may take the
# maximum first. After a 2x2 pool, only a quarter of the pixels is left to normalize.
#
# One window with z = [1, -3, 2, 0], scale = 2, shift = -1:
#
#     plain:        2 z - 1 = [1, -7, 3, -1],  ReLU: [1, 0, 3, 0],  max: 3
#     pool first:   max z = 2,  2 · 2 - 1 = 3,  ReLU: 3
#
# If scale is negative, the order is reversed: the *smallest* z gives the largest y. Then the pool would pick the
# wrong pixel. The remedy: the engine turns the sign of that filter. With -z and -scale the result is the same, and
# the order is kept.


# %%
def plain(z, scale, shift):
    return np.maximum(z * scale + shift, 0).max()


def pool_first(z, scale, shift):
    return np.maximum(z.max() * scale + shift, 0)


def with_sign(z, scale, shift):
    sign = -1 if scale < 0 else 1
    return pool_first(sign * z, sign * scale, shift)


z = np.array([1.0, -3.0, 2.0, 0.0])
print("scale  2:", plain(z, 2, -1), pool_first(z, 2, -1), with_sign(z, 2, -1))
print("scale -2:", plain(z, -2, 1), pool_first(z, -2, 1), with_sign(z, -2, 1))
assert plain(z, 2, -1) == pool_first(z, 2, -1) == with_sign(z, 2, -1) == 3
assert plain(z, -2, 1) == with_sign(z, -2, 1) == 7 and pool_first(z, -2, 1) == 0

# %%
later_figures.pool_first(z.reshape(2, 2))

# %% [markdown]
# ## Idea 4: the same bits on any number of threads
#
# On paper a + (b + c) = (a + b) + c. In a computer it isn't, because every sum is rounded:

# %%
print((0.1 + 0.2) + 0.3, 0.1 + (0.2 + 0.3))
assert (0.1 + 0.2) + 0.3 != 0.1 + (0.2 + 0.3)

numbers = np.random.default_rng(0).normal(size=100).astype(np.float32)
sums = set()
for seed in range(20):
    total = np.float32(0)
    for number in np.random.default_rng(seed).permutation(numbers):
        total += number
    sums.add(float(total))
print(len(sums), "different sums of the same 100 numbers in 20 orders")
assert len(sums) > 1

# %% [markdown]
# Now let threads add their tiles to one sum, each when it is ready. Which one is ready first is chance. So the last
# bit of the sum is chance. Training makes a small difference grow from step to step, and two runs with the same
# settings would end in different weights.
#
# The remedy is to fix the order. The batch is cut into up to eight *shards*, however many threads there are, and each
# shard into tiles. Each shard has a partial sum of its own, a *lane*, to which its tiles add in rising order, one
# after the other. At the end neighbouring lanes are added, then neighbouring sums of these, until one is left. Who
# computed what makes no difference any more.
#
# In the source, look at `work`, which every thread runs: it takes the next lane (`part`) that nobody has begun, and
# does all tiles of it. (`scratch` is working memory for one thread, and `jobs` are other things that can be done
# meanwhile. `ONE_BLAS_THREAD` makes sure that a matrix product doesn't start threads of its own.)

# %%
show(TileRunner.run)
tiles = np.random.default_rng(0).normal(size=(37, 1000)).astype(np.float32)


def sum_on(threads):
    grid = grid_of(len(tiles), 2)  # two of the 37 rows in a tile, at most
    partial = np.zeros(len(grid.lanes), np.float32)

    def task(tile, lane, scratch):
        partial[lane] += tiles[grid[tile]].sum()

    TileRunner(threads).run(task, grid)
    return tree_sum(partial)


totals = [sum_on(threads) for threads in (1, 2, 3, 8)]
print("on 1, 2, 3 and 8 threads:", *totals)
assert len(set(totals)) == 1

# %% [markdown]
# ## Is it still the same network?
#
# A fast engine that computes something else is worth nothing. `md.fuse` takes the plain model, and its composites
# (such as convolution + BN + ReLU + pool in one layer) use the very same parameter arrays. Outputs and gradients
# agree up to rounding, and the gradient check of chapter 10 works for it like for any layer.

# %%
model = md.models.convnet.build_convnet(10, 0.0, np.random.default_rng(0), np.float64, widths=(4, 6, 8))
fused = md.fuse(model, threads=1)
print(fused)
x = np.random.default_rng(1).normal(size=(4, 16, 16, 3))
dy = np.random.default_rng(2).normal(size=(4, 10))
found = []
for net in (model, fused):
    net.zero_grad()
    y, cache = net.forward(x, md.TRAIN.at_step(0))
    net.backward(dy, cache)
    found.append([y, *(p.grad.copy() for p in net.named_parameters().values())])
worst = max(float(abs(a - b).max() / abs(a).max()) for a, b in zip(*found, strict=True))
print(f"largest difference between plain and fused, outputs and gradients: {worst:.0e}")
assert worst < 1e-9
report = md.gradcheck(fused, x)
print(f"gradient check of the fused model: {report.error:.0e}")
assert report.error < 1e-5

# %%
model = md.models.build("convnet", classes=10)
x = np.random.default_rng(0).normal(size=(16, 64, 64, 3)).astype(np.float32)
dy = np.random.default_rng(0).normal(size=(16, 10)).astype(np.float32)


def step_of(net, name):
    def step():
        y, cache = net.forward(x, md.TRAIN.at_step(0))
        net.backward(dy, cache, need_dx=False)

    step.__name__ = name
    return step


forms = {"plain": model, "fused, one thread": md.fuse(model, threads=1), "fused, all cores": md.fuse(model)}
for name, found in milliseconds(*(step_of(net, name) for name, net in forms.items()), rounds=4).items():
    print(f"{name:18} {found:6.1f} ms for a step with 16 images")

# %% [markdown]
# How much faster it is depends on the network, on the batch and on the machine. The refined net of the paper has wide
# layers and large maps, and a training step of it is about five times as fast on two cores
# ([what each technique is worth](../fast-engine.md#what-each-technique-is-worth)).
#
# ## What to remember
#
# - Most layers wait for memory. A tile that fits the cache goes through all steps at once.
# - m outputs of a filter with k taps need m + k - 1 products, not m k.
# - A batch normalization in use is one product and one sum for each channel, and can be folded into the filters.
# - A step that keeps the order of the numbers can wait until after the max pool.
# - A sum depends on its order. Fix the order, and the bits are fixed.
#
# ## Exercises
#
# - `fold_batch_norm`: turn a batch normalization with running statistics into a scale and a shift.
# - `winograd_matrices`: make the three matrices for m outputs of a filter with k taps.
#
# In a terminal, in the folder that `minidl learn start my-exercises` has made:
#
# ```sh
# minidl learn check fold_batch_norm      # is it right? If not: what is wrong
# minidl learn hint fold_batch_norm       # a first hint; again for a second and a third
# ```
#
# That was the last chapter. `minidl train --with DIR` trains a network on the functions that you have solved, and on
# minidl's for the rest.
