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
# # 8. Branches: inception and residual
#
# **You need:** [chapter 1](01_linear.py) for the chain rule, [chapter 3](03_convolution.py) for convolutions,
# [chapter 6](06_batch_norm.py) for batch normalization and [chapter 7](07_pooling.py) for pools.
#
# **Afterwards you can** send a gradient back through any network of layers, whether they stand in a row or side by
# side, build an inception module and a residual block, and watch what flows through a network.
#
# It takes about 15 minutes.
#
# So far a layer had one input and one output. A network is made of many layers, and it needs only two ways to put
# them together: one after the other, and side by side. In minidl a layer that holds other layers is called a
# *container*. It has a forward and a backward pass like any layer. So containers can hold containers.

# %%
import numpy as np

import charts
import later_figures
import minidl as md
from minidl.learn import show
from minidl.models.inception import Inception, conv_bn_relu, inception

# %% [markdown]
# ## One after the other
#
# We need layers that are easy to follow on paper. This one multiplies by a fixed number. If y = 2x, then dx = 2 dy.
# It has no parameters, so it only needs `forward` and `input_grad`; the base class makes a `backward` of
# `input_grad`. (`ctx` says how the pass is run, here `md.PROBE`: keep a cache, change nothing. Chapter 9 has more
# about it.)


# %%
class Times(md.Layer):
    """y = factor x."""

    def __init__(self, factor):
        self.factor = factor

    def forward(self, x, ctx):
        return self.factor * x, None  # backward needs nothing, so the cache is None

    def input_grad(self, dy, cache):
        return self.factor * dy


one = np.array([[1.0]])
chain = md.Sequential(Times(2.0), Times(5.0))
y, cache = chain.forward(one, md.PROBE)
dx = chain.backward(np.array([[1.0]]), cache)
print("y =", y, " dx =", dx)
assert y == 10 and dx == 10

# %% [markdown]
# Two layers in a row are a function of a function: y = 5 (2x). The chain rule starts at the end. The last layer
# receives dy = 1 and returns 5. This 5 is the dy of the layer before it, which returns 2 · 5 = 10.
#
# So the backward pass of a chain is a loop from the last layer to the first, in which **the dx of a layer is the dy
# of the layer before**. Each layer needs the cache of its own forward pass, and so the cache of the chain is the list
# of the layers' caches.

# %%
show(md.Sequential.backward)

# %% [markdown]
# Some details, since you'll write it yourself:
#
# - `gradient` and `cache` are used like stacks. `pop` takes the last element off, so that nothing else refers to it
#   and its memory is free at once. This matters: for one batch the caches of a network take far more memory than its
#   weights.
# - `needed` is false for the first layer if nobody wants the gradient of the images. That gradient costs as much as
#   any other dx, and training has no use for it.
# - `within` adds the layer's name to an error message, and `require_dx` complains about a layer that forgot to return
#   its dx.

# %% [markdown]
# ## Side by side: one input, two readers
#
# Now two layers read the *same* x, and their outputs stand side by side: y = [2x, 3x]. Say that dy = [1, 10]. What is
# dx?

# %%
pair = md.Concat(Times(2.0), Times(3.0))
y, cache = pair.forward(one, md.PROBE)
dx = pair.backward(np.array([[1.0, 10.0]]), cache)
print("y =", y, " dx =", dx)
assert y.tolist() == [[2, 3]] and dx == 32

# %% [markdown]
# Raise x by 0.001. The first output rises by 0.002, and L by 0.002 · 1. The second output rises by 0.003, and L by
# 0.003 · 10. Together L rises by 0.032. So dx = 2 · 1 + 3 · 10 = 32.
#
# Every reader of x sends its own dx, and **x receives the sum**. It is always the same rule: a pixel that lies in
# many patches (chapter 5), a maximum that many windows share (chapter 7), an x that many branches read.

# %%
later_figures.two_readers()

# %% [markdown]
# `Concat` joins the outputs along the channels, so y has as many channels as all branches together. On the way back
# it cuts dy into the same pieces: the first branch gets its channels of dy, the second gets the next ones, and so on.
# To know where to cut, the forward pass keeps the branches' widths (their numbers of channels) in the cache.

# %%
show(md.Concat.forward)
show(md.Concat._join)

# %% [markdown]
# In `forward`, `ctx.run("", branch, x)` calls the branch's forward pass, and `zip(*...)` turns the pairs (y, cache)
# of all branches into one tuple of outputs and one of caches. `_join` is the backward pass. It is written for any way
# back: `backward` passes it a function that calls `branch.backward`, and the pictures of chapter 11 pass another one.
#
# ### What goes wrong most often: five answers that are not 32
#
# | dx | what was done |
# |---|---|
# | 16 | the branches' gradients were averaged |
# | 30 | `dx = d` instead of `dx = dx + d`: only the last branch counts |
# | 23 | the pieces of dy were exchanged: 2 · 10 + 3 · 1 |
# | 5 | `start` was never advanced, so both branches got the first piece: 2 · 1 + 3 · 1 |
# | [2, 30] | the gradients were joined, as the outputs were: but dx has the shape of x |
#
# The fourth needs care: if the branches have different widths, it doesn't raise an error. It just reads the wrong
# channels.

# %%
dy = np.array([[1.0, 10.0]])
first, second = dy[:, :1], dy[:, 1:]
assert ((2 * first + 3 * second) / 2).item() == 16
assert (3 * second).item() == 30
assert (2 * second + 3 * first).item() == 23
assert (2 * first + 3 * first).item() == 5
assert np.concatenate([2 * first, 3 * second], axis=1).tolist() == [[2, 30]]

# %% [markdown]
# ## The inception module
#
# What is it good for? In an image some things are small and some are large. The *inception module* (Szegedy et al.
# 2014) looks at its input in four ways at once, and lets training find out which one helps:
#
# - a 1x1 convolution, which mixes the channels of each pixel,
# - a 3x3 convolution,
# - a 5x5 convolution,
# - a 3x3 average pool with stride 1, and a 1x1 convolution after it. (The original has a max pool here.)
#
# Padding makes all four outputs as high and wide as the input. So they can stand side by side. Every convolution is
# followed by batch normalization and ReLU (`conv_bn_relu`). The networks of minidl come from a paper by Boigné &
# Heyse (2017), which gives the widths of each module in a row of a table. Here is the function that builds a module,
# and the row of the first one:

# %%
show(inception)
row = Inception(b1=32, b3_reduce=48, b3=64, b5_reduce=8, b5=16, pool=16)
module = inception(128, row, np.random.default_rng(0), np.float32)
print(md.summary(module, (30, 30, 128)))
assert module.out_shape((1, 30, 30, 128)) == (1, 30, 30, 32 + 64 + 16 + 16)

# %% [markdown]
# Why are there 1x1 convolutions (`b3_reduce`, `b5_reduce`) before the large ones? Count the multiplications for one
# pixel of the 5x5 branch. Directly from 128 channels to 16, each of the 16 outputs multiplies 5 · 5 · 128 numbers:
#
#     25 · 128 · 16 = 51,200
#
# With 8 channels in between:
#
#     128 · 8 + 25 · 8 · 16 = 1,024 + 3,200 = 4,224
#
# That is 12 times fewer, and the number of weights falls by the same factor. You find 1,024 and 3,200 in the table
# above, in the column "parameters". The price is that the 5x5 convolution sees only 8 mixtures of the 128 channels.

# %%
parameters = {name: p.value.size for name, p in module.named_parameters().items()}
assert parameters["b5_reduce.conv.weight"] == 1024 and parameters["b5.conv.weight"] == 3200
assert 12 < 51_200 / (1024 + 3200) < 12.2

# %%
later_figures.inception_module()

# %% [markdown]
# A name such as `b5.conv.weight` is the way from the module to the weight. The branches themselves have no name: it
# is `b5.conv`, not `branch3.b5.conv`. In the whole network the same weight is called `inception1.b5.conv.weight`.
# Square brackets give you the layer with that name:

# %%
print(module["b5.conv"])
assert module["b5.conv"].params["weight"].value.shape == (5, 5, 8, 16)

# %% [markdown]
# ## Residual: around and through
#
# The second way to use branches is to *add* them: y = f(x) + x. Here f, the body, is some layers in a row, and the
# other branch does nothing at all. It is called the shortcut. The body only has to learn what must be *added* to x,
# the residual.
#
# Backward, x has two readers again. The body sends its dx, and the shortcut sends dy itself:
#
#     dx = dy + (the body's dx)
#
# With f(x) = 2x and dy = 1 that is 1 + 2 = 3. (Of course: y = 2x + x = 3x.)

# %%
show(md.Residual.backward)
block = md.Residual(Times(2.0))
y, cache = block.forward(one, md.PROBE)
dx = block.backward(np.array([[1.0]]), cache)
print("y =", y, " dx =", dx)
assert y == 3 and dx == 3

# %% [markdown]
# If the body changes the shape, f(x) and x can't be added. Then the shortcut is a layer too, such as a 1x1
# convolution, and the dx of the shortcut takes the place of dy in this sum.
#
# There is a trap: the same array dy goes both ways. If the body changed it in place, the other way would get a wrong
# dy. That is why no layer may ever write into its dy.
#
# ### Why deep networks need it
#
# Ten layers in a row, each of which multiplies by 0.1, multiply the gradient by 0.1 ten times: the first layer
# receives 0.0000000001 of it and hardly learns. With a shortcut around each layer, the factor is 1 + 0.1 each time.

# %%
plain_factor, residual_factor = 0.1**10, 1.1**10
print(f"plain {plain_factor:.0e}, residual {residual_factor:.2f}")
assert np.isclose(plain_factor, 1e-10) and round(residual_factor, 2) == 2.59

# %% [markdown]
# Now with real layers: thirty times a linear layer of 64 numbers and a ReLU. We send random numbers back from the
# end, and look at their size (the root of their mean square) before each layer.


# %%
def sizes_on_the_way_back(residual, scale=1.0, depth=30):
    rng = np.random.default_rng(0)
    layers = []
    for _ in range(depth):
        linear = md.Linear(64, 64, rng=rng, dtype=np.float64)
        linear.params["weight"].value *= scale
        body = md.Sequential(linear, md.ReLU())
        layers.append(md.Residual(body) if residual else body)
    y, caches = md.Sequential(layers).forward(rng.normal(size=(16, 64)), md.PROBE)
    dy, sizes = rng.normal(size=y.shape), []
    for layer, cache in zip(reversed(layers), reversed(caches), strict=True):
        sizes.append(float(np.sqrt((dy**2).mean())))
        dy = layer.input_grad(dy, cache)
    return [*sizes, float(np.sqrt((dy**2).mean()))]


lines = {
    "in a row": sizes_on_the_way_back(residual=False),
    "residual": sizes_on_the_way_back(residual=True),
    "residual, small body": sizes_on_the_way_back(residual=True, scale=0.1),
}
for name, sizes in lines.items():
    print(f"{name:22} from {sizes[0]:.2f} to {sizes[-1]:.1e}")
assert lines["in a row"][-1] < 1e-3 and lines["residual"][-1] > 1e3 and 0.5 < lines["residual, small body"][-1] < 2

# %%
charts.depth(lines)

# %% [markdown]
# - **In a row** the gradient vanishes. Each ReLU stops about half of the numbers, which divides the size by √2. After
#   30 layers it is 2⁻¹⁵ = 0.00003 of what it was.
# - **Residual** blocks carry it back to the first layer. But here it *grows*, because each block adds something. A
#   gradient that explodes is no better than one that vanishes.
# - **With a body that starts small**, the factor of each block is near 1. Real residual networks reach this with
#   batch normalization in the body, and often by starting the last gamma of each body at 0.
#
# ## Watch what flows: `md.trace`
#
# You needn't write such a loop for your own network. `md.trace(model, x, labels)` runs one forward and one backward
# pass, and prints a row for every layer: mean, standard deviation and share of zeros of its y, and of the dy that
# came back to it. Here is a small network with one module, on random images:

# %%
rng = np.random.default_rng(0)
small = md.Sequential(
    {
        "stem": conv_bn_relu(3, 8, 3, rng, np.float32, padding=1),
        "inception1": inception(8, Inception(4, 3, 4, 2, 2, 2), rng, np.float32),
        "avgpool": md.GlobalAvgPool(),
        "fc": md.Linear(12, 5, rng=rng),
    }
)
images = rng.normal(size=(8, 12, 12, 3)).astype(np.float32)
trace = md.trace(small, images, labels=np.arange(8) % 5)
print(trace)
rows = {row.path: row for row in trace}
assert abs(rows["stem.bn"].output.std - 1) < 0.01
assert 0.3 < rows["stem.relu"].output.zeros < 0.7
sizes = [row.gradient.std for row in trace[:-2]]
assert max(sizes) < 10 * min(sizes) and rows["avgpool"].gradient.std > 50 * max(sizes)
assert all(abs(row.gradient.mean) < 1e-6 * row.gradient.std for row in trace if row.path.endswith("conv"))

# %% [markdown]
# How to read it:
#
# - `std y` is 1 after each `bn`: that is what batch normalization does. A network without it often shows numbers that
#   grow or shrink from row to row.
# - `zeros y` is about half after each `relu`. If it is 100 %, the layer is dead: its gradient is zero, and it won't
#   learn any more.
# - `std dy` falls sharply between `avgpool` and the rows before it: the mean over 12 · 12 = 144 pixels divides the
#   gradient by 144. Over all rows before that it keeps its size, within a factor of ten. In a deep network without
#   shortcuts, like the lowest line in the picture above, it would fall from row to row.
# - The mean of `dy` at each `conv` is nearly zero, because batch normalization takes the mean out of the gradient
#   (chapter 6).
#
# ## What to remember
#
# - In a row: from the last layer to the first, each dx is the dy of the layer before.
# - Side by side: cut dy, send each piece through its branch, and add the results.
# - Residual: dx = dy + the body's dx.
#
# ## Exercises
#
# - `sequential_backward`: go through the layers from the last to the first.
# - `concat_backward`: cut dy into the branches' channels, and add what comes back.
# - `residual_backward`: add the dx of the body and that of the shortcut, which may be missing.
#
# In a terminal, in the folder that `minidl learn start my-exercises` has made:
#
# ```sh
# minidl learn check concat_backward      # is it right? If not: what is wrong
# minidl learn hint concat_backward       # a first hint; again for a second and a third
# ```
