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
# # 7. Pooling and its switches
#
# **You need:** [chapter 3](03_convolution.py), where a window slides over a map (stride, padding), and
# [chapter 5](05_col2im.py), where a pixel that lies in several windows receives a sum.
#
# **Afterwards you can** write max pooling and average pooling with their backward passes, work out by hand what every
# pixel receives, and recognise the usual mistakes by the numbers they give.
#
# It takes about 15 minutes.
#
# A pooling layer makes a map smaller. It slides a window over every channel by itself, and keeps one number of each
# window: the largest one, or the mean. It has no parameters, so its backward pass is only about dx.

# %%
import numpy as np

import drawing
import later_figures
import minidl as md
from minidl.diagnostics.gradcheck import spaced
from minidl.kernels import reference
from minidl.layers.pooling import GlobalAvgPool
from minidl.learn import show

# %% [markdown]
# ## The largest number of each window
#
# Here is a map of 4x4 pixels, one image with one channel. A 2x2 window with stride 2 has four places on it, and they
# don't overlap. In every layer of minidl the axes are image, row, column, channel: (N, H, W, C).

# %%
x = np.array(
    [
        [1.0, 3.0, 2.0, 0.0],
        [4.0, 2.0, 1.0, 5.0],
        [0.0, 1.0, 7.0, 2.0],
        [3.0, 2.0, 0.0, 1.0],
    ]
).reshape(1, 4, 4, 1)  # (4, 4) -> (N, H, W, C)

y, index = reference.max_pool(x, kernel=2, stride=2, padding=0)
print("y:", y[0, :, :, 0], "index:", index[0, :, :, 0], sep="\n")
assert y.ravel().tolist() == [4, 5, 3, 7]
assert index.ravel().tolist() == [2, 3, 2, 0]

# %% [markdown]
# The second result says *where* in its window each maximum was found. The pixels of a window are counted in reading
# order: in a 2x2 window 0 is top left, 1 top right, 2 bottom left, 3 bottom right. The 4 was found at the bottom
# left, so its index is 2. In general, in a K x K window, the pixel in row kh and column kw has the index `kh*K+kw`.
#
# The index is called a **switch**, because it works like the switch of a railway: it decides which way the gradient
# goes back. With the shape of x it is all that the backward pass needs, so x itself can be forgotten. It is kept as
# one byte (`uint8`), which counts from 0 to 255: enough for windows of up to 16x16 pixels.

# %% [markdown]
# ## Backward: the maximum takes it all
#
# We want dx = dL/dx, and we are given dy = dL/dy. The chain rule asks for one thing: how does each y move if an x
# moves a little?
#
# Take the first window, with 1, 3, 4 and 2. Its y is 4. Raise the 4 by 0.001, and y rises by 0.001. Raise the 3 by
# 0.001, and y stays at 4. So the derivative of y is 1 with respect to the maximum, and 0 with respect to the other
# three pixels. The maximum receives the whole dy. The others receive nothing.

# %%
dy = np.array([[10.0, 20.0], [30.0, 40.0]]).reshape(1, 2, 2, 1)  # (OH, OW) -> (N, OH, OW, C)
dx = reference.max_pool_dx(dy, index, x.shape, kernel=2, stride=2, padding=0)
print("dx:", dx[0, :, :, 0], sep="\n")
assert dx[0, :, :, 0].tolist() == [[0, 0, 0, 0], [10, 0, 0, 20], [0, 0, 40, 0], [30, 0, 0, 0]]

# %% [markdown]
# Note the 30. It belongs to the third window, at the bottom left, whose maximum 3 lies in the last row. A gradient of
# a max pool is mostly zeros: of K² pixels in a window, only one gets anything.
#
# This is the forward pass as it stands in the project. `offsets` gives, for each pixel k of the window, the slices
# that pick this pixel out of *all* windows at once. So the loop runs over the K² pixels of a window, never over the
# map. In the loop, `y` is the largest value so far, and `index` says where it was.

# %%
show(reference.max_pool)

# %% [markdown]
# (`xp` is NumPy here; on a graphics card it is CuPy.) Three things deserve a second look.
#
# - **Padding is minus infinity**, not zero. With zeros, a window at the border of a map of negative numbers would
#   find its maximum outside the image.
# - **`candidate > y`**, not `>=`. If two pixels are equal, the first one in reading order stays the maximum. We come
#   back to this below.
# - **`isnan`**: a NaN ("not a number", such as 0/0) is neither larger nor smaller than anything. Here it wins over
#   every number, so that something that went wrong stays visible.

# %%
negative = -np.ones((1, 2, 2, 1))
y_border, _ = reference.max_pool(negative, kernel=2, stride=2, padding=1)
print("all windows touch the padding, and still y is", y_border.ravel())
assert y_border.ravel().tolist() == [-1, -1, -1, -1]  # zeros as padding would give 0, 0, 0, 0

# %% [markdown]
# ## Windows that overlap
#
# With stride 2 and a 3x3 window, neighbours overlap by one row or column. Then two or four windows may have the
# *same* pixel as their maximum. On this 5x5 map the centre is the largest of all numbers, and it lies in all four
# windows.

# %%
x5 = np.array(
    [
        [1.0, 2.0, 0.0, 1.0, 3.0],
        [0.0, 4.0, 2.0, 5.0, 1.0],
        [2.0, 1.0, 9.0, 0.0, 2.0],
        [3.0, 0.0, 6.0, 1.0, 4.0],
        [1.0, 2.0, 0.0, 3.0, 2.0],
    ]
).reshape(1, 5, 5, 1)  # (5, 5) -> (N, H, W, C)
dy4 = np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1)  # (OH, OW) -> (N, OH, OW, C)

y4, index4 = reference.max_pool(x5, kernel=3, stride=2, padding=0)
dx4 = reference.max_pool_dx(dy4, index4, x5.shape, kernel=3, stride=2, padding=0)
print("y:", y4[0, :, :, 0], "index:", index4[0, :, :, 0], "dx:", dx4[0, :, :, 0], sep="\n")
assert y4.ravel().tolist() == [9, 9, 9, 9]
assert index4.ravel().tolist() == [8, 6, 2, 0]
assert dx4[0, 2, 2, 0] == 10 and dx4.sum() == 10

# %% [markdown]
# One pixel, four different indices: the centre of the map is the bottom right pixel (8) of the first window, the
# bottom left (6) of the second, the top right (2) of the third, and the top left (0) of the fourth.
#
# Raise the centre by 0.001, and all four y rise by 0.001. So L changes by 0.001 (1 + 2 + 3 + 4), and dx is 10. It is
# the rule of chapter 5 once more: what was used several times receives a sum.

# %%
later_figures.shared_maximum(x5[0, :, :, 0], dy4[0, :, :, 0], dx4[0, :, :, 0])

# %% [markdown]
# Here is the source of the backward pass. For each pixel k of the window it asks in which windows this pixel was the
# maximum (`hit`), and adds their dy there. The argument `overlap` serves the pictures of chapter 11; for a gradient
# it is "sum". The reversed order and `touched` matter for the other two values only.

# %%
show(reference.max_pool_dx)

# %% [markdown]
# ### What goes wrong most often: four answers that are not 10
#
# | the centre gets | what was done |
# |---|---|
# | 4 | `dx[...] = dy` instead of `dx[...] += dy`: the last window overwrites the others |
# | 2.5 | the four gradients were averaged instead of added |
# | 1.11 | dy was spread over the whole window, as an average pool does: 10 / 9 |
# | 5 | kh and kw, computed from the index, were exchanged: two of the four gradients went to corners of the map |
#
# This is the fourth, with loops that are slow and easy to read:


# %%
def with_exchanged_axes(dy, index, x_shape, kernel, stride):
    dx = np.zeros(x_shape)
    for oh in range(dy.shape[1]):
        for ow in range(dy.shape[2]):
            kw, kh = divmod(int(index[0, oh, ow, 0]), kernel)  # wrong: the row comes first, kh, kw = divmod(...)
            dx[0, stride * oh + kh, stride * ow + kw, 0] += dy[0, oh, ow, 0]
    return dx


wrong = with_exchanged_axes(dy4, index4, x5.shape, kernel=3, stride=2)
print(wrong[0, :, :, 0])
last = reference.max_pool_dx(dy4, index4, x5.shape, kernel=3, stride=2, padding=0, overlap="last")
assert last[0, 2, 2, 0] == 4 and dx4[0, 2, 2, 0] / 4 == 2.5
assert wrong[0, 2, 2, 0] == 5 and wrong[0, 0, 4, 0] == 2 and wrong[0, 4, 0, 0] == 3

# %% [markdown]
# The 1 and the 4 reached the centre, because the indices 8 and 0 lie on the diagonal of the window: row and column
# are equal there. On a map where every maximum happens to lie on the diagonal, this mistake is invisible. So test
# with random numbers, never with one tidy example.
#
# There is a quick check for every max pool: it only moves numbers about, so **dx and dy have the same sum**. With
# padding this holds too, because the maximum is never in the padding. The answers 4 and 2.5 break it; 1.11 and 5
# don't.

# %% [markdown]
# ## Equal numbers
#
# What if two pixels of a window are equal, and both are the maximum? Then y has a kink. Raise one of them, and y
# rises with it; lower it, and y stays. There is no single derivative. But *one* pixel must be chosen. minidl takes
# the first in reading order, as `argmax` does.
#
# A shorter code comes to mind: compare every pixel with the maximum of its window, and give dy to all that are equal.
# Look at what it does to a flat part of an image:


# %%
def all_that_are_equal(dy, x, y, kernel):
    """A max pool's dx by x == max, for windows that don't overlap."""
    mask = x == np.repeat(np.repeat(y, kernel, axis=1), kernel, axis=2)
    return mask * np.repeat(np.repeat(dy, kernel, axis=1), kernel, axis=2)


flat = np.ones((1, 3, 3, 1))
y_flat, index_flat = reference.max_pool(flat, kernel=3, stride=3, padding=0)
one = np.ones((1, 1, 1, 1))
right = reference.max_pool_dx(one, index_flat, flat.shape, kernel=3, stride=3, padding=0)
too_much = all_that_are_equal(one, flat, y_flat, kernel=3)
print("first one:", right.sum(), "   all of them:", too_much.sum())
assert right.sum() == 1 and right[0, 0, 0, 0] == 1
assert too_much.sum() == 9

# %% [markdown]
# Nine times too large: if the whole window rises by 0.001, then y rises by 0.001, not by 0.009. Images are full of
# flat parts, and a ReLU makes many zeros, so equal numbers are common in training. Random test numbers are
# practically never equal. So this mistake passes every gradient check on random numbers.

# %% [markdown]
# ## The mean of each window
#
# An average pool is simpler. y is the sum over the window divided by K², so each pixel has the derivative 1/K². Every
# pixel receives dy / K² from every window that contains it. There are no switches: nothing about x needs to be
# remembered but its shape.

# %%
show(reference.avg_pool_dx)
dx_mean = reference.avg_pool_dx(dy4, x5.shape, kernel=3, stride=2, padding=0)
print("9 dx:", (9 * dx_mean[0, :, :, 0]).round(12), sep="\n")
assert np.allclose(9 * dx_mean[0, :, :, 0], [
    [1, 1, 3, 2, 2],
    [1, 1, 3, 2, 2],
    [4, 4, 10, 6, 6],
    [3, 3, 7, 4, 4],
    [3, 3, 7, 4, 4],
])  # fmt: skip

# %% [markdown]
# We printed 9 dx to see whole numbers. The pixels in the corners lie in one window each, those between two windows
# get the sum of both, and the centre gets (1 + 2 + 3 + 4) / 9 = 1.11.
#
# You have met this pattern before. An average pool is a convolution that treats every channel by itself, with a
# filter that is 1/K² everywhere. So its dx is the dx of that convolution, and the sums above are those of col2im.

# %%
figure, axes = drawing.canvas(19, 8.2, "The same dy = 1, 2, 3, 4 through two pools")
for left, values, text in (
    (1.6, dx4, "max pool: one pixel receives all"),
    (11.6, 9 * dx_mean, "average pool, times 9: every pixel a share"),
):
    numbers = values[0, :, :, 0].round(12)
    shades = np.where(numbers > 0, drawing.BLUE, None)
    place = drawing.grid(axes, numbers, left, 1.9, colour=shades)
    drawing.note(axes, text, (place.bottom[0], 7.4))
drawing.finish(figure, "07-max-and-mean")

# %% [markdown]
# At the border there is a choice. In minidl the padding counts: a window that is half outside still divides by K². So
# a corner of a map of ones becomes less than one.

# %%
ones = np.ones((1, 3, 3, 1))
bordered = reference.avg_pool(ones, kernel=3, stride=1, padding=1)[0, :, :, 0]
print("9 y:", (9 * bordered).round(12), sep="\n")
assert np.allclose(9 * bordered, [[4, 6, 4], [6, 9, 6], [4, 6, 4]])

# %% [markdown]
# ## The mean of the whole map
#
# Most networks of today end with a *global* average pool: (N, H, W, C) becomes (N, C), one number for each channel.
# Every pixel has the derivative 1 / (H W), so every pixel of a channel receives the same: dy / (H W). The last line
# of the source repeats this number over the map.

# %%
show(GlobalAvgPool.input_grad)
pool = GlobalAvgPool()
maps = np.arange(12.0).reshape(1, 2, 3, 2)  # (N, H, W, C)
means, cache = pool.forward(maps, md.PROBE)
shares = pool.input_grad(np.array([[6.0, 60.0]]), cache)
print("y:", means, "  dx of the two channels:", shares[0, 0, 0])
assert means.tolist() == [[5, 6]] and np.allclose(shares[..., 0], 1) and np.allclose(shares[..., 1], 10)

# %% [markdown]
# Forget to divide, and the gradient of everything below is H W times too large: 64 times for a map of 8x8. The
# network may learn all the same, because an optimizer such as Adam hardly notices the size of a gradient (chapter 9).
# Only a gradient check tells you.
#
# ## Does it hold?
#
# The gradient check of [chapter 1](01_linear.py) works for all three. `spaced` makes random numbers that are all at
# least 0.01 apart. So no maximum changes while the check moves a number by 0.00001: no kink disturbs it.
# [Chapter 10](10_gradient_check.py) tells what happens otherwise.

# %%
numbers = spaced(np.random.default_rng(0), (2, 5, 5, 3))
for layer in (md.MaxPool2D(3, stride=2), md.AvgPool2D(3, stride=2, padding=1), md.GlobalAvgPool()):
    report = md.gradcheck(layer, numbers)
    print(f"{layer!r:45}", f"worst relative error {report.error:.0e}")
    assert report.error < 1e-7

# %% [markdown]
# ## What to remember
#
# - A max pool sends dy to one pixel of each window; the switch says to which one.
# - Windows that overlap *add*.
# - Of equal pixels, one is chosen. Giving dy to all of them counts it several times.
# - An average pool gives dy / K² to every pixel of the window, a global one dy / (H W) to every pixel of the map.
#
# ## Exercises
#
# - `max_pool`: find the largest number of every window, and where in the window it lies.
# - `max_pool_dx`: send dy back to the maxima, and add where windows share one.
# - `avg_pool`: take the mean of every window; padding counts as zeros.
# - `avg_pool_dx`: give every pixel its share of the dy of all windows that contain it.
# - `global_avg_pool_dx`: give every pixel of a map its share of the map's dy.
#
# In a terminal, in the folder that `minidl learn start my-exercises` has made:
#
# ```sh
# minidl learn check max_pool      # is it right? If not: what is wrong
# minidl learn hint max_pool       # a first hint; again for a second and a third
# ```
