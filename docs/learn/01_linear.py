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
# # 1. A linear layer, and the chain rule
#
# **You need:** the chain rule for functions of one variable, and NumPy: indexing, `@`, `.T`, `sum(axis=...)`.
#
# **Afterwards you can** say what `dy` is, write the backward pass of a linear layer and of a ReLU, check both by
# changing one number a little, and read `minidl/layers/linear.py`.
#
# It takes about 20 minutes. Every number here is small enough to be checked on paper. The lines with `assert` do
# the same check: if one of them were wrong, this chapter would not run.
#
# `drawing` and `figures` are files beside this one; they make the pictures. `minidl/kernels/reference.py` holds
# minidl's functions on arrays in their shortest form, and `show` prints source code.

# %%
import numpy as np

import drawing
import figures
import minidl as md
from minidl.kernels import reference
from minidl.learn import show

# %% [markdown]
# ## One number at a time
#
# Training means: change the weights of a network so that one number becomes smaller. This number is called the
# loss, L. It says how wrong the network's answers are. To know in which direction to change a weight, we need the
# derivative of L with respect to that weight.
#
# Here is the smallest network: one input x, one weight w, one output y, and a loss.
#
#     y = x w        x = 3,  w = 2,  so y = 6
#     L = y^2                        so L = 36
#
# The chain rule says: dL/dw = dL/dy * dy/dw. Both factors are easy.
#
#     dL/dy = 2 y = 12         if y grows by a small amount, L grows by 12 times this amount
#     dy/dw = x   = 3          if w grows by a small amount, y grows by 3 times this amount
#     dL/dw = 12 * 3 = 36      so L grows by 36 times the amount by which w grows
#
# In the same way dL/dx = dL/dy * dy/dx = 12 * w = 24.
#
# A variable in Python can't be called `dL/dy`. So we write `dy` for it, `dw` for dL/dw and `dx` for dL/dx.

# %%
x, w = 3.0, 2.0
y = x * w
loss = y**2

dy = 2 * y
dw = dy * x
dx = dy * w
print(f"L = {loss}, dy = {dy}, dw = {dw}, dx = {dx}")
assert (dy, dw, dx) == (12, 36, 24)

# %%
figures.one_number()

# %% [markdown]
# We can test such a derivative without any theory: change w by a small step in both directions and see how L
# changes. This is called a central difference. A whole chapter (10) is about it.

# %%
step = 1e-5
measured = ((x * (w + step)) ** 2 - (x * (w - step)) ** 2) / (2 * step)
print(f"dL/dw by the chain rule {dw}, by measuring {measured:.6f}")
assert np.isclose(measured, dw)

# %% [markdown]
# ## What dy is
#
# In a real network x, w and y are arrays. The loss L is still one number. So every entry of y has a derivative of
# its own: how L changes if this entry changes and all others stay. All these derivatives together are the gradient
# of y:
#
# > **dy = dL/dy is an array of the same shape as y. If y[i] grows by a small amount, L grows by dy[i] times this
# > amount.**
#
# The same holds for every name: the gradient of `a` is called `da` and has the shape of `a`. So `dw` has the shape
# of `w`, and `dx` that of `x`.
#
# A layer computes y from x. It doesn't know the loss, and it doesn't know which layers come after it. One thing is
# enough for it: `dy`. From `dy`, and from its own x and w, the layer computes
#
# - `dw`, the gradient of its weights, which training needs, and
# - `dx`, the gradient of its input. The input x of this layer is the output y of the layer before. So our `dx` is
#   the `dy` of the layer before, and that layer can do the same. In this way the gradient travels from the loss
#   back to the first layer. This is called the backward pass.

# %% [markdown]
# ## The linear layer
#
# A linear layer (also called fully connected, or dense) multiplies by a matrix w and adds a bias b:
#
#     y = x @ w + b           x (N, D),  w (D, K),  b (K,),  y (N, K)
#
# Each of the N rows of x is one example, say an image, with D numbers. The layer makes K numbers of them. An
# example with N = 2, D = 3, K = 2:

# %%
x = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
w = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]])
b = np.array([10.0, 20.0])
y = x @ w + b
print(y)
assert np.array_equal(y, [[14, 19], [20, 19]])

# %% [markdown]
# The first entry, for instance, is y[0,0] = 1 * 1 + 2 * 0 + 3 * 1 + 10 = 14. With all indices written out:
#
#     y[n,k] = b[k] + sum over d of  x[n,d] w[d,k]
#
# Now somebody hands us dy. Where it comes from doesn't matter; let us take these numbers:

# %%
dy = np.array([[1.0, 2.0], [3.0, 4.0]])

# %% [markdown]
# What is dw? Take one weight, w[0,1], and ask two questions.
#
# 1. **Where is it used?** Only in column 1 of y: in y[0,1] and in y[1,1]. Each example uses it once.
# 2. **What is the factor beside it?** In y[0,1] it is x[0,0] = 1, and in y[1,1] it is x[1,0] = 4.
#
# If w[0,1] grows by a small amount, y[0,1] grows by 1 times this amount and y[1,1] by 4 times. Both change L, by
# dy[0,1] and dy[1,1] times their own growth, and the changes add up:
#
#     dw[0,1] = 1 * dy[0,1] + 4 * dy[1,1] = 1 * 2 + 4 * 4 = 18
#
# This is the whole chain rule for arrays, and the only rule in this course:
#
# > **Find every place where the number was used. At each place multiply dy by the factor beside the number. Add
# > up.**
#
# (Where the number isn't part of a product, take the derivative at this place as its factor.)
#
# The three gradients of the linear layer follow from it, one after the other:
#
#     w[d,k] is used in y[n,k] for every n, beside x[n,d]:   dw[d,k] = sum over n of  x[n,d] dy[n,k]
#     b[k]   is used in y[n,k] for every n, alone:           db[k]   = sum over n of  dy[n,k]
#     x[n,d] is used in y[n,k] for every k, beside w[d,k]:   dx[n,d] = sum over k of  w[d,k] dy[n,k]
#
# A sum over one common index is a matrix product. The common index must be the last of the left matrix and the
# first of the right one, and a transpose (`.T`) puts it there:

# %%
dw = x.T @ dy  # (D, N) @ (N, K) -> (D, K)
db = dy.sum(axis=0)  # (N, K) -> (K,)
dx = dy @ w.T  # (N, K) @ (K, D) -> (N, D)
print("dw", dw, "db", db, "dx", dx, sep="\n")
assert np.array_equal(dw, [[13, 18], [17, 24], [21, 30]])
assert np.array_equal(db, [4, 6])
assert np.array_equal(dx, [[1, 2, -1], [3, 4, -1]])

# %%
figure, axes = drawing.canvas(15.4, 6.4, "dw[0,1] collects from both examples")
drawing.grid(axes, x, 0.8, 2.4, label="x", colour=[[drawing.BLUE, None, None]] * 2)
drawing.grid(axes, dy, 5, 2.4, label="dy", colour=[[None, drawing.ORANGE]] * 2)
one_green = np.full(dw.shape, None)
one_green[0, 1] = drawing.GREEN
drawing.grid(axes, dw, 12.4, 1.9, label="dw = x.T @ dy", colour=one_green)
drawing.note(axes, "1 · 2", (8.6, 2.9), size=drawing.SIZE)
drawing.note(axes, "+  4 · 4", (8.4, 3.9), size=drawing.SIZE)
drawing.note(axes, "=  18", (10.1, 3.9), size=drawing.SIZE, colour=drawing.GREEN, weight="bold")
drawing.note(axes, "blue: x[n,0], the factors beside w[0,1].   orange: dy[n,1], where w[0,1] is used.", (7.7, 5.7))
drawing.finish(figure, "01-dw")

# %% [markdown]
# **Let the shapes help you.** dw must be (3, 2) like w. From x (2, 3) and dy (2, 2) there is just one product that
# gives (3, 2): `x.T @ dy`. This is a good way to remember the formulas, but no proof. If all sizes are equal, every
# product fits, and only the numbers show that a `.T` is missing:

# %%
square = np.array([[1.0, 2.0], [3.0, 4.0]])  # D = K = 2
one = np.array([[1.0, 0.0]])  # a dy that asks for y[0,0] only, which is 1 x[0,0] + 3 x[0,1]
print("with .T:", one @ square.T, "   without:", one @ square)
assert np.array_equal(one @ square.T, [[1, 3]])
assert np.array_equal(one @ square, [[1, 2]])

# %% [markdown]
# ## What goes wrong most often
#
# Each line below computes something that looks right. All but the last have the right shape, too.

# %%
wrong = {
    "dw, averaged over the examples": x.T @ dy / len(x),
    "db, of the first example only": dy[0],
    "db, summed over the wrong axis": dy.sum(axis=1),
    "dw, transposed": dy.T @ x,
}
for mistake, value in wrong.items():
    print(f"{mistake}: {value.tolist()}")
assert np.array_equal(wrong["dw, averaged over the examples"], [[6.5, 9], [8.5, 12], [10.5, 15]])
assert np.array_equal(wrong["db, summed over the wrong axis"], [3, 7])

# %% [markdown]
# About the first one: many losses are a mean over the examples, so there is a factor 1/N somewhere. It belongs to
# the loss, and `dy` already contains it. A layer that divides by N once more gets a gradient that is N times too
# small.
#
# ## The real code
#
# This is the layer that minidl trains with. `show` prints the source as it stands in the file today.

# %%
show(md.Linear.forward)

# %% [markdown]
# Three remarks:
#
# - `self.params["weight"]` is a `Parameter`: it has a `value` (our w) and a `grad` (our dw), two arrays of one
#   shape.
# - `forward` returns two things: y, and a **cache**. The cache is what the backward pass will need. Here it is x,
#   since dw = x.T @ dy. The caller keeps the cache and hands it back later; the layer itself remembers nothing. So
#   the layer can process a second input before the backward pass of the first one.
# - `ctx` says what the pass is for. In a pass that only wants answers, nothing goes backward, and the cache is
#   None. `md.TRAIN` is such a `ctx`, the one for training.
#
# The two checks at the beginning (`out_shape`, `require_float`) only turn bad input into a clear message. The types
# behind `:` and `->` are notes for the reader: `x: Array` says that x is an array.

# %%
show(md.Linear.backward)
show(md.Linear.input_grad)

# %% [markdown]
# Our three formulas are all here. `need_dx=False` saves work in the first layer of a network: nobody asks how the
# loss changes with the pixels.
#
# **Why `+=`?** `backward` *adds* its gradients to `grad`. By our rule, a weight that is used in two places collects
# from both. The two places may be two calls of one layer. They may also be two halves of a *batch*, as the examples
# that go through a network together are called, if it is too large for the memory. Let us try it: the gradients of
# two halves add up to the gradient of the whole.

# %%
layer = md.Linear(3, 2, dtype=np.float64)
layer.params["weight"].value[...] = w  # values are written in place, with [...]
layer.params["bias"].value[...] = b

for half in (0, 1):
    _, cache = layer.forward(x[half : half + 1], md.TRAIN)
    layer.backward(dy[half : half + 1], cache)
    print(f"after {half + 1} of 2 examples: dw =", layer.params["weight"].grad.tolist())
assert np.array_equal(layer.params["weight"].grad, dw)
assert np.array_equal(layer.params["bias"].grad, db)

# %% [markdown]
# A layer that assigned, `grad[...] = ...`, would now hold the gradient of the second example alone. This mistake is
# easy to miss: if `grad` starts at zero and `backward` is called once, assigning and adding give the same result.
# So a gradient check passes, and training with one layer used twice goes wrong.
#
# The other side of `+=`: somebody must set the gradients to zero before the next batch. `layer.zero_grad()` does.

# %%
layer.zero_grad()
assert not layer.params["weight"].grad.any()

# %% [markdown]
# ## ReLU
#
# Two linear layers in a row are just one linear layer with another matrix, since (x @ w1) @ w2 = x @ (w1 @ w2). A
# network needs something in between that is not linear. Most networks use the ReLU, which replaces every negative
# number by 0:
#
#     y = max(x, 0)
#
# Where x > 0, y is x: the factor is 1. Where x < 0, y is 0 and doesn't depend on x: the factor is
# 0. So dx is dy where x was positive, and 0 elsewhere. The *mask* [x > 0] is 1 or 0 for each entry, and is all that
# has to be remembered.

# %%
x_relu = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
dy_relu = np.array([1.0, 2.0, 3.0, 4.0, 5.0])
y_relu, mask = reference.relu(x_relu)
dx_relu = reference.relu_dx(dy_relu, mask)
print("y ", y_relu, "\ndx", dx_relu)
assert np.array_equal(y_relu, [0, 0, 0, 1, 2])
assert np.array_equal(dx_relu, [0, 0, 0, 4, 5])

# %%
figure, axes = drawing.canvas(15, 5.6, "A ReLU lets dy pass where x was positive")
open_ = [None, None, None, drawing.BLUE, drawing.BLUE]
drawing.grid(axes, x_relu, 1.6, 1.6, label="x", colour=open_, where="left")
drawing.grid(axes, y_relu, 8.8, 1.6, label="y", colour=open_, where="right")
drawing.arrow(axes, (6.8, 2.1), (8.6, 2.1), text="forward", colour=drawing.BLUE, shift=(0, -0.5))
passed = [None, None, None, drawing.ORANGE, drawing.ORANGE]
drawing.grid(axes, dx_relu, 1.6, 3.6, label="dx", colour=passed, where="left")
drawing.grid(axes, dy_relu, 8.8, 3.6, label="dy", colour=drawing.ORANGE, where="right")
drawing.arrow(axes, (8.6, 4.1), (6.8, 4.1), text="backward", colour=drawing.ORANGE, shift=(0, -0.5))
drawing.finish(figure, "01-relu")

# %%
show(reference.relu)
show(reference.relu_dx)

# %% [markdown]
# (`xp = array_module(x)` is NumPy for an array on a CPU, and CuPy, which works in the same way, for one on a graphics
# card.)
#
# At x = 0 the slope jumps from 0 to 1, and there is no derivative. minidl takes 0 there, as most libraries do. With
# `x >= 0` in place of `x > 0`, the third entry of dx would be 3 instead of 0. And note whose sign counts: that of x,
# not that of dy. A negative dy passes an open ReLU unchanged.

# %% [markdown]
# ## A chain of layers
#
# Now let three layers work together: linear, ReLU, linear. Forward, each y is the next x. Backward, each dx is the
# dy of the layer before. Every layer gets its own cache back.

# %%
first, relu, second = md.Linear(3, 4, rng=1, dtype=np.float64), md.ReLU(), md.Linear(4, 2, rng=2, dtype=np.float64)

h, cache1 = first.forward(x, md.TRAIN)  # (2, 3) -> (2, 4)
a, cache2 = relu.forward(h, md.TRAIN)  # (2, 4) -> (2, 4)
y, cache3 = second.forward(a, md.TRAIN)  # (2, 4) -> (2, 2)

da = second.backward(dy, cache3)  # (2, 2) -> (2, 4)
dh = relu.backward(da, cache2)  # (2, 4) -> (2, 4)
dx = first.backward(dh, cache1)  # (2, 4) -> (2, 3)
for name, array, gradient in (("y", y, dy), ("a", a, da), ("h", h, dh), ("x", x, dx)):
    print(f"{name} {array.shape}   d{name} {gradient.shape}")
    assert array.shape == gradient.shape

# %% [markdown]
# Is dx right? We need a loss to measure it. There is a handy one: for a fixed array dy, let **L = sum of y * dy**. In
# L each entry of y is multiplied by the entry of dy, so dL/dy is exactly this dy. Then any entry of dx can be
# measured by changing that entry of x a little:

# %%


def loss_of(x):
    y = second(relu(first(x)))  # layer(x) is a forward pass that keeps no cache
    return (y * dy).sum()


step = 1e-5
up, down = x.copy(), x.copy()
up[0, 2] += step
down[0, 2] -= step
measured = (loss_of(up) - loss_of(down)) / (2 * step)
print(f"dx[0,2] = {dx[0, 2]:.8f}, measured {measured:.8f}")
assert np.isclose(dx[0, 2], measured)

# %% [markdown]
# `md.gradcheck` does this for many entries of x and of every weight. It also moves all of them at once in a random
# direction (`everything` in the table). The relative errors should be tiny, below 1e-7:

# %%
report = md.gradcheck(md.Sequential(first, relu, second), x)
print(report)
assert report.error < 1e-7

# %% [markdown]
# ## Exercises
#
# - `linear_forward`: write the forward pass of the linear layer, which returns y and the cache.
# - `linear_backward`: write its backward pass, which adds dw and db to the parameters and returns dx.
# - `relu`: write the ReLU, which returns y and the mask.
# - `relu_dx`: write its gradient from dy and the mask.
#
# The first two are methods of the layer. In your file they are plain functions, and `self` is the layer.
#
# In a terminal:
#
# ```sh
# minidl learn start my-exercises     # once: makes a folder with all exercises
# cd my-exercises
# minidl learn check linear_forward   # is it right? If not: what is wrong
# minidl learn hint linear_forward    # a first hint; again for a second and a third
# ```
