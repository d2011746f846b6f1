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
# # 4. im2col: convolution as one matrix product
#
# **You need:** [chapter 1](01_linear.py) (the linear layer and its dw) and [chapter 3](03_convolution.py)
# (convolution as sums).
#
# **Afterwards you can** write out the matrix of patches, compute a convolution and the gradient of its filters as
# one matrix product each, and read `im2col`, `conv2d` and `conv2d_dw` in `minidl/kernels/reference.py`.
#
# It takes about 15 minutes.

# %%
import time

import numpy as np

import drawing
from minidl.kernels import reference
from minidl.learn import show

# %% [markdown]
# ## Write the windows below each other
#
# In chapter 3 the filter w = [1, 10, 100] moved over x = [1, 2, 3, 4] and saw two windows. Copy each of them into a
# row of a matrix. Such a copy of a window is called a **patch**, and the matrix is called `patches`:
#
#     patches = [1  2  3]          w = [  1]         patches @ w = [321]
#               [2  3  4]              [ 10]                       [432]
#                                      [100]
#
# One product of a matrix with the filter gives all outputs. So **a convolution is a linear layer on patches.** We
# know everything about linear layers from chapter 1, and get the backward pass nearly for free. Only the letters
# change. Chapter 1 had N examples of D numbers each, and K outputs. Here we have P patches of K numbers each, and F
# filters. (So K has a new meaning: the numbers in a patch.)
#
# The function that makes the matrix is called `im2col`, for "image to columns". (In some libraries the patches are
# columns. In minidl they are rows.)

# %%
x = np.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 4, 1)  # (N, H, W, C)
w = np.array([1.0, 10.0, 100.0]).reshape(1, 3, 1, 1)  # (KH, KW, C, F)
patches = reference.im2col(x, (1, 3), stride=1, padding=0)
y = patches @ w.reshape(3, 1)  # (P, K) @ (K, F)
print(patches, y, sep="\n")
assert np.array_equal(patches, [[1, 2, 3], [2, 3, 4]])
assert np.array_equal(y, [[321], [432]])

# %%
figure, axes = drawing.canvas(17, 6.4, "im2col copies each window into a row of its own")
row_x = drawing.grid(axes, x.ravel(), 1.2, 2.9, label="x", where="left")
rows = drawing.grid(axes, patches, 7.4, 2.4, label="patches", colour=[[drawing.BLUE] * 3, [drawing.YELLOW] * 3])
drawing.grid(axes, w.reshape(3, 1), 11.6, 1.9, label="w", colour=drawing.LIGHT)
drawing.grid(axes, y, 14.4, 2.4, label="y", colour=[[drawing.BLUE], [drawing.YELLOW]], cell_width=1.4)
drawing.note(axes, "@", (11, 3.4), size=16)
drawing.note(axes, "=", (13.5, 3.4), size=16)
drawing.arrow(axes, row_x[1].top, rows[0, 0].left, colour=drawing.BLUE, bend=0.25)
drawing.arrow(axes, row_x[2].bottom, rows[1, 0].left, colour=drawing.YELLOW, bend=-0.25)
drawing.note(axes, "pixels 0, 1, 2", (4.7, 1.8))
drawing.note(axes, "pixels 1, 2, 3", (4.9, 5.0))
drawing.finish(figure, "04-patches")

# %% [markdown]
# The pixels 2 and 3 were copied twice. That costs memory, and chapter 5 will show what it means for the gradient.
#
# ## An image
#
# For the 3x3 image with the numbers 1 to 9 and a 2x2 window there are four places, so four patches of four numbers:

# %%
image = np.arange(1.0, 10.0).reshape(1, 3, 3, 1)  # (9,) -> (N, H, W, C)
patches = reference.im2col(image, (2, 2), stride=1, padding=0)
print(image[0, :, :, 0], patches, sep="\n\n")
assert np.array_equal(patches, [[1, 2, 4, 5], [2, 3, 5, 6], [4, 5, 7, 8], [5, 6, 8, 9]])

# %% [markdown]
# Compare the first row with the upper left 2x2 square: 1 2 above, 4 5 below. The order within a row is fixed: first
# the upper row of the window from left to right, then the next row; for each pixel all its channels. This must be
# the order in which the filter is stored. The filter has the shape (KH, KW, C, F), and a reshape to (KH KW C, F)
# runs through KH, KW and C in just this order. In general:
#
#     patches  (P, K)      P = N OH OW places,  K = KH KW C numbers for each place
#     w        (K, F)
#     y        (P, F)      is y (N, OH, OW, F), with its first three axes joined
#
# If the two orders differ, everything has the right shape and the numbers are wrong. For instance, with the window's
# columns first:

# %%
w2 = np.array([[1.0, 10.0], [100.0, 1000.0]])
right = patches @ w2.reshape(-1)
wrong = patches @ w2.T.reshape(-1)
print("right:", right, "  another order:", wrong)
assert np.array_equal(right, [5421, 6532, 8754, 9865])
assert np.array_equal(wrong, [5241, 6352, 8574, 9685])

# %% [markdown]
# ## How to copy without a loop over windows
#
# A large layer sees hundreds of thousands of windows in each batch, and Python loops are slow. But the patches can
# also be filled *column by column*. Column k holds the pixel number k of every window. For our row of four pixels:
#
#     column 0, the first pixel of each window:    1, 2      that is x[0:2]
#     column 1, the second pixel:                  2, 3      that is x[1:3]
#     column 2, the third:                         3, 4      that is x[2:4]
#
# Each column is a slice of x. So a loop over the K = 3 pixels of the window is enough, however large x is. With
# stride s the slice takes every s-th pixel, OW of them: `x[k : k + s * OW : s]`.
#
# An image needs a slice of rows and a slice of columns for each pixel (kh, kw) of the window:
#
#     x[kh : kh + s * OH : s,  kw : kw + s * OW : s]
#
# Here is a 5x5 image with a 3x3 window and stride 2. It has 2x2 windows, so s * OH = 4. The coloured pixels are
# what these slices select for two of the nine pixels of the window:

# %%
map_x = np.arange(25).reshape(5, 5)
figure, axes = drawing.canvas(17, 8.6, "One pixel of the window, in all four windows at once")
for left, (kh, kw), colour in ((1.2, (0, 0), drawing.BLUE), (9.8, (1, 2), drawing.GREEN)):
    shades = np.full((5, 5), None)
    shades[kh : kh + 4 : 2, kw : kw + 4 : 2] = colour
    drawing.grid(axes, map_x, left, 2.2, label=f"kh = {kh}, kw = {kw}", colour=shades)
    seen = ", ".join(map(str, map_x[kh : kh + 4 : 2, kw : kw + 4 : 2].ravel()))
    drawing.note(axes, f"column {3 * kh + kw} of patches:  {seen}", (left + 2.5, 7.8), colour=colour)
drawing.finish(figure, "04-slices")

five = reference.im2col(map_x.reshape(1, 5, 5, 1), (3, 3), stride=2, padding=0)
assert np.array_equal(five[:, 0], [0, 2, 10, 12])
assert np.array_equal(five[:, 5], [7, 9, 17, 19])

# %% [markdown]
# This is the real code. `offsets` yields the number k of each pixel of the window, and its two slices. (`yield`
# hands over one result after the other, to a `for` loop.) In `im2col`, `patches` has five axes until its last line,
# (N, OH, OW, KH KW, C), so that `patches[:, :, :, k]` is pixel k of the window for all images and all places.

# %%
show(reference.offsets, reference.im2col, reference.conv2d)

# %% [markdown]
# (`xp` is NumPy on a CPU and CuPy on a GPU. `n, _, _, c = x.shape` leaves out the height and width.)
#
# Is one large product really faster than a loop? A processor is much better at it: it uses each number that it has
# fetched from the memory many times. Here are both on 16 images. The times depend on your machine.

# %%
rng = np.random.default_rng(0)
x4, w4 = rng.normal(size=(16, 16, 16, 8)), rng.normal(size=(3, 3, 8, 16))


def loops(x, w):
    y = np.zeros((16, 14, 14, 16))
    for i in range(14):
        for j in range(14):
            for f in range(16):
                y[:, i, j, f] = (x[:, i : i + 3, j : j + 3] * w[..., f]).sum(axis=(1, 2, 3))
    return y


def best_of_three(function, *args):
    times = []
    for _ in range(3):
        start = time.perf_counter()
        result = function(*args)
        times.append(time.perf_counter() - start)
    return min(times), result


slow, y_loops = best_of_three(loops, x4, w4)
fast, y_product = best_of_three(reference.conv2d, x4, w4, 1, 0)
print(f"loops {1000 * slow:.0f} ms, one product {1000 * fast:.1f} ms")
assert np.allclose(y_loops, y_product)

# %% [markdown]
# ## The gradient of the filters
#
# Suppose dy = [1, 2] comes back to our row of four pixels. (If y[i] grows by a small amount, the loss L grows by
# dy[i] times this amount; see chapter 1.) What is dw? Use the rule of chapter 1: find every place where a weight was
# used, multiply dy there by the factor beside the weight, and add up. w[0] is used in y[0] beside x[0], and in y[1]
# beside x[1]. So
#
#     dw[0] = dy[0] x[0] + dy[1] x[1] = 1 * 1 + 2 * 2 =  5
#     dw[1] = dy[0] x[1] + dy[1] x[2] = 1 * 2 + 2 * 3 =  8
#     dw[2] = dy[0] x[2] + dy[1] x[3] = 1 * 3 + 2 * 4 = 11
#
# Each weight meets a *column* of patches. In matrix form this is the formula of the linear layer, dw = x.T @ dy,
# with patches in place of x:
#
#     dw = patches.T @ dy         (K, P) @ (P, F) -> (K, F)

# %%
dy = np.array([1.0, 2.0]).reshape(1, 1, 2, 1)  # (N, OH, OW, F)
patches = reference.im2col(x, (1, 3), stride=1, padding=0)
dw = patches.T @ dy.reshape(-1, 1)
print(dw.ravel())
assert np.array_equal(dw.ravel(), [5, 8, 11])
assert np.array_equal(reference.conv2d_dw(x, dy, w.shape, 1, 0).ravel(), [5, 8, 11])

figure, axes = drawing.canvas(15, 6, "dw = patches.T @ dy: every column of patches meets dy")
both = [[drawing.BLUE, None, None]] * 2
drawing.grid(axes, patches, 1.2, 2.3, label="patches", colour=both)
drawing.grid(axes, dy.reshape(2, 1), 5.6, 2.3, label="dy", colour=drawing.ORANGE)
drawing.note(axes, "1·1 + 2·2 = 5", (9, 3.3), size=drawing.SIZE)
drawing.grid(axes, dw, 12, 1.8, label="dw", colour=[[drawing.BLUE], [None], [None]])
drawing.finish(figure, "04-dw")

# %%
show(reference.conv2d_dw)

# %% [markdown]
# The patches are not kept from the forward pass: `conv2d_dw` makes them again from x. They would take up to KH * KW
# times the memory of x, for every layer of the network, until its backward pass. That is why the cache of `Conv2D`
# is x.
#
# If the layer has a bias, b[f] is added to every y[n,oh,ow,f], so db[f] is the sum of dy over all images and places.
#
# ## What goes wrong most often
#
# The right answer is [5, 8, 11].

# %%
d = dy.ravel()
wrong = {
    "the filter was turned round": (patches.T @ d)[::-1],
    "dy was turned round": patches.T @ d[::-1],
    "averaged over the places": patches.T @ d / 2,
    "the last patch only: assigned where it must be added": patches[-1] * d[-1],
    "dy was forgotten": patches.sum(axis=0),
}
for mistake, value in wrong.items():
    print(f"{str(value.tolist()):18} {mistake}")
assert np.array_equal(list(wrong.values()), [[11, 8, 5], [4, 7, 10], [2.5, 4, 5.5], [4, 6, 8], [3, 5, 7]])

# %% [markdown]
# ## What it costs
#
# A 3x3 window with stride 1 copies nearly every pixel nine times. For a batch of 64 images with 62x62 pixels and
# 128 channels in single precision (4 bytes a number), x takes 126 MB. The patches of its 60x60 places would take
# 1.1 GB. So on a CPU minidl runs `minidl/kernels/blocked.py`. It does the same as `reference.py`, but makes the
# patches of a few images at a time. (A 1x1 convolution needs no patches at all: x itself, reshaped to (N H W, C),
# is the matrix.)

# %%
megabytes = 64 * 62 * 62 * 128 * 4 / 1e6
assert round(megabytes) == 126
places = 64 * 60 * 60
assert round(places * 9 * 128 * 4 / 1e9, 1) == 1.1

# %% [markdown]
# ## Exercises
#
# - `im2col`: write the matrix of patches, for any window, stride and padding.
# - `conv2d_dw`: write the gradient of the filters. You may use your own `im2col` or minidl's.
#
# In a terminal, in the folder that `minidl learn start my-exercises` has made:
#
# ```sh
# minidl learn check im2col      # is it right? If not: what is wrong
# minidl learn hint im2col       # a first hint; again for a second and a third
# ```
