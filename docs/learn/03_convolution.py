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
# # 3. Convolution as sums
#
# **You need:** [chapter 1](01_linear.py) (the linear layer).
#
# **Afterwards you can** compute a convolution by hand, with stride, padding, channels and filters, tell the size of
# its output, count its parameters, and write it with plain loops.
#
# It takes about 15 minutes. This chapter goes forward only; chapters 4 and 5 have the way back.

# %%
import numpy as np

import drawing
import minidl as md
from minidl.data import shapes
from minidl.kernels import reference
from minidl.learn import show

# %% [markdown]
# ## One row of pixels
#
# A linear layer multiplies every input with its own weight. For images this is wasteful. An edge looks the same in
# every corner of the image, and whether there is an edge depends on a few neighbouring pixels only. A convolution
# makes use of both facts. It has a few weights, called a **filter**. It lays the filter over a few neighbouring
# pixels, the **window**, multiplies and adds up. Then it moves the window one pixel on, and does the same with the
# same weights.
#
# Take four pixels in a row, and a filter of three weights:
#
#     x = [1, 2, 3, 4]        w = [1, 10, 100]
#
#     y[0] = 1*1 + 2*10 + 3*100 = 321
#     y[1] = 2*1 + 3*10 + 4*100 = 432
#
# With these weights you can read off each y which pixels it saw: the digits of 321 are the window 1, 2, 3, written
# from right to left. There is no y[2], since the window would leave the image.

# %%
x = np.array([1.0, 2.0, 3.0, 4.0])
w = np.array([1.0, 10.0, 100.0])
y = np.array([(x[i : i + 3] * w).sum() for i in range(2)])
print(y)
assert np.array_equal(y, [321, 432])

# %%
figure, axes = drawing.canvas(15, 7.4, "The same filter at every place")
for i, colour in enumerate((drawing.BLUE, drawing.YELLOW)):
    top = 1.9 + 2.9 * i
    seen = [colour if i <= j < i + 3 else None for j in range(4)]
    drawing.grid(axes, x, 1, top, label="x" if i == 0 else "", colour=seen)
    drawing.grid(axes, w, 1 + i, top + 1.15, colour=drawing.LIGHT)
    drawing.note(axes, "w", (0.5 + i, top + 1.65), ha="right")
    ones, tens, hundreds = x[i : i + 3].astype(int)
    drawing.note(axes, f"{ones}·1 + {tens}·10 + {hundreds}·100", (8.3, top + 1.1), size=drawing.SIZE)
    place = drawing.grid(axes, [y[i]], 12.6, top + 0.6, label=f"y[{i}]", colour=colour, cell_width=1.4)
    drawing.arrow(axes, (10.7, top + 1.1), place.left, colour=colour)
drawing.finish(figure, "03-one-row")

# %% [markdown]
# **Is the filter turned round?** In mathematics, a convolution turns the filter round before it lays it on: w would
# be read as [100, 10, 1], and y would be [123, 234]. What neural networks compute is called a *cross-correlation*
# in mathematics. The weights are learned, so it makes no difference which one we take: the network would learn the
# turned weights. But we must not mix the two. NumPy has both, under their mathematical names:

# %%
print("np.correlate:", np.correlate(x, w, mode="valid"), "  np.convolve:", np.convolve(x, w, mode="valid"))
assert np.array_equal(np.correlate(x, w, mode="valid"), [321, 432])
assert np.array_equal(np.convolve(x, w, mode="valid"), [123, 234])

# %% [markdown]
# ## Padding and stride
#
# The output is shorter than the input: two numbers for four pixels. If it should have the same length, we put a
# pixel of value 0 at each end. This is called **padding**, here p = 1:
#
#     padded x = [0, 1, 2, 3, 4, 0]        y = [210, 321, 432, 43]
#
# The first window is [0, 1, 2], and the last one is [3, 4, 0].
#
# The **stride** s is how far the window moves each time. So far it was 1. With s = 2 and no padding, on five
# pixels:
#
#     x = [1, 2, 3, 4, 5]                  y = [321, 543]
#
# How many windows fit? The first begins at pixel 0 of the padded row, and the last may begin at W + 2p - K at most,
# for W pixels and K weights. Between them the window moves in steps of s. So the number of windows is
#
#     OW = floor((W + 2p - K) / s) + 1
#
# The `+ 1` counts the first window. To forget it is the most common mistake in this formula. `floor` rounds down: a
# window that would stick out at the end is left out.

# %%
cases = {
    "no padding": (4, 1, 0),
    "padding 1": (4, 1, 1),
    "stride 2, five pixels": (5, 2, 0),
    "stride 2, four pixels": (4, 2, 0),
}
found = {}
for name, (size, stride, padding) in cases.items():
    row = np.pad(np.arange(1.0, size + 1), padding)  # zeros at both ends
    starts = range(0, len(row) - 3 + 1, stride)
    found[name] = [float((row[i : i + 3] * w).sum()) for i in starts]
    print(f"{name}: {found[name]}")
    assert len(found[name]) == (size + 2 * padding - 3) // stride + 1
assert list(found.values()) == [[321, 432], [210, 321, 432, 43], [321, 543], [321]]

# %% [markdown]
# Four pixels with stride 2 show something that is easy to overlook. Only one window fits, and **the fourth pixel is
# in no window**. The output doesn't depend on it. So its gradient will be 0. But dx has the shape of x, so the 0
# must be there.
#
# With s = 1 and p = (K - 1) / 2 the output has the size of the input. For three weights that is p = 1, for five it
# is p = 2.
#
# ## Two dimensions
#
# For an image the window is a square, or any rectangle of KH x KW pixels. It moves from left to right, and then
# down. A 2x2 filter on a 3x3 image has four places:

# %%
image = np.arange(1.0, 10.0).reshape(3, 3)  # (9,) -> (H, W)
w2 = np.array([[1.0, 10.0], [100.0, 1000.0]])
y2 = reference.conv2d(image.reshape(1, 3, 3, 1), w2.reshape(2, 2, 1, 1), stride=1, padding=0)[0, :, :, 0]
print(y2)
assert np.array_equal(y2, [[5421, 6532], [8754, 9865]])

figure, axes = drawing.canvas(15, 5.8, "y[0,0] = 1·1 + 2·10 + 4·100 + 5·1000")
seen = np.full((3, 3), None)
seen[:2, :2] = drawing.BLUE
drawing.grid(axes, image, 0.8, 2, label="x", colour=seen)
drawing.grid(axes, w2, 5.3, 2.5, label="w", colour=drawing.LIGHT, cell_width=1.3)
first = np.full((2, 2), None)
first[0, 0] = drawing.BLUE
drawing.grid(axes, y2, 11, 2.5, label="y", colour=first, cell_width=1.5)
drawing.arrow(axes, (8.5, 3.5), (10.6, 3.5), colour=drawing.BLUE)
drawing.finish(figure, "03-two-dimensions")

# %% [markdown]
# ## Channels and filters
#
# A pixel of a colour image has three numbers: red, green and blue. They are called **channels**. The filter has a
# weight for each channel of each pixel in the window, so it holds KH x KW x C numbers. The sum runs over all of
# them, and the result is still one number for each place.
#
# One filter finds one thing, say a vertical edge. A layer has F filters, and each makes an output of its own. These
# F outputs are the channels of the result. In minidl the axes are always in this order:
#
#     x (N, H, W, C)      N images, H rows, W columns, C channels
#     w (KH, KW, C, F)    the last axis counts the filters
#     y (N, OH, OW, F)    OH rows and OW columns of windows
#
#     y[n,oh,ow,f] = sum over kh,kw,c of  x[n, s oh + kh - p, s ow + kw - p, c] w[kh,kw,c,f]      + b[f]
#
# The index `s oh + kh - p` is the row of the image: the window oh begins at row s oh - p, and kh counts from there.
# A row outside the image counts as 0: that is the padding. At the end each filter adds its bias b[f].
#
# Written as loops, the formula is as follows. (Capital letters are sizes, small ones count up to them.)

# %%


def conv2d_loops(x, w, stride, padding):
    N, H, W, _ = x.shape
    KH, KW, _, F = w.shape
    OH = (H + 2 * padding - KH) // stride + 1
    OW = (W + 2 * padding - KW) // stride + 1
    padded = reference.pad2d(x, padding)
    y = np.zeros((N, OH, OW, F), x.dtype)
    for oh in range(OH):
        for ow in range(OW):
            top, left = stride * oh, stride * ow
            window = padded[:, top : top + KH, left : left + KW]  # (N, KH, KW, C)
            for f in range(F):
                y[:, oh, ow, f] = (window * w[..., f]).sum(axis=(1, 2, 3))
    return y


rng = np.random.default_rng(0)
x4, w4 = rng.normal(size=(2, 7, 6, 3)), rng.normal(size=(3, 2, 3, 4))
for stride, padding in ((1, 0), (2, 1), (3, 2)):
    ours, real = conv2d_loops(x4, w4, stride, padding), reference.conv2d(x4, w4, stride, padding)
    print(f"stride {stride}, padding {padding}: {ours.shape}, largest difference {abs(ours - real).max():.0e}")
    assert np.allclose(ours, real)

# %% [markdown]
# Our loops give the same numbers as minidl. `reference.conv2d` does it without a loop over places; chapter 4
# explains how. Padding is a function of its own, because pooling needs it too, with another value than 0:

# %%
show(reference.pad2d)

# %% [markdown]
# **A 1x1 convolution** has a window of a single pixel. It multiplies the C channels of each pixel by the same C x F
# matrix. So it is the linear layer of chapter 1, applied to every pixel. It mixes the channels of a pixel, and
# doesn't look at its neighbours:

# %%
w11 = rng.normal(size=(1, 1, 3, 4))
assert np.allclose(reference.conv2d(x4, w11, 1, 0), x4 @ w11[0, 0])  # (N, H, W, C) @ (C, F)

# %% [markdown]
# ## What a filter sees
#
# Here is a filter for vertical edges. It subtracts the left column of the window from the right one. Where the
# image has one colour, left and right cancel. Where it gets brighter towards the right, y is positive. Turned by 90
# degrees, it finds horizontal edges. We use the same weights for red, green and blue.

# %%
photo = shapes.draw(0, "train", 17) / 255.0  # one image of minidl's embedded data set, (64, 64, 3)
edge = np.array([[-1.0, 0.0, 1.0]] * 3)
filters = np.stack([edge, edge.T], axis=-1)  # (KH, KW, F)
filters = np.repeat(filters[:, :, None], 3, axis=2)  # (KH, KW, C, F)
edges = reference.conv2d(photo[None], filters, 1, 1)[0]  # (H, W, F)
assert edges.shape == (64, 64, 2)

figure, axes = drawing.canvas(18, 7.4, "Two filters on one image")
drawing.image(axes, photo, 0.6, 1.8, 5, 5, label="x")
limit = abs(edges).max()
for k, (left, label) in enumerate(((6.5, "vertical edges"), (12.4, "horizontal edges"))):
    drawing.image(axes, np.clip(edges[..., k] / limit / 2 + 0.5, 0, 1), left, 1.8, 5, 5, label=label)
drawing.finish(figure, "03-edges")

# %% [markdown]
# A channel of an output is often called a *map*. In the two maps gray is 0, white positive and black negative. (The
# lines along the border come from the padding: its zeros look like a black frame around the image.) In a network
# nobody writes such filters. They are learned, by the gradients of the next two chapters.
#
# **The same everywhere.** If the image moves by a pixel, the output moves by a pixel, because every place has the
# same weights. (Only the columns at the border are different: there the image loses one column and gets a new one.)

# %%
moved = np.roll(photo, 1, axis=1)
before, after = (reference.conv2d(a[None], filters, 1, 0)[0] for a in (photo, moved))
assert np.allclose(after[:, 2:], before[:, 1:-1])

# %% [markdown]
# **How many weights.** A layer of 16 filters of 3x3 on a colour image has 3 * 3 * 3 * 16 = 432 weights and 16
# biases, however large the image is. On a 64x64 image it makes 62 * 62 * 16 = 61,504 outputs. A linear layer from
# the 12,288 numbers of the image to as many outputs would need 12,288 * 61,504 weights: more than 755 million.

# %%
layer = md.Conv2D(3, 16, 3, rng=0)
assert sum(p.value.size for p in layer.named_parameters().values()) == 448
assert layer.out_shape((1, 64, 64, 3)) == (1, 62, 62, 16) and 62 * 62 * 16 == 61504
assert 64 * 64 * 3 * 61504 == 755_761_152

# %% [markdown]
# The layer itself is short. `kernels_for(x)` chooses the functions for the kind of array, NumPy on a CPU or CuPy on
# a GPU. The cache is x: chapter 4 shows why.

# %%
show(md.Conv2D.forward)

# %% [markdown]
# ## What goes wrong most often
#
# For x = [1, 2, 3, 4] and w = [1, 10, 100] the right answer is [321, 432].
#
# - [123, 234]: the filter is turned round.
# - [321]: the formula for the number of windows has lost its `+ 1`.
# - [210, 321, 432, 43] where no padding was asked for, or [321, 432, 43] with a border on one side only.
# - With several channels: an output for each channel, because the sum doesn't run over C.
#
# ## Exercises
#
# - `pad2d`: write the padding, with any value, as a new array.
# - `conv2d`: write the convolution for any stride and padding. Loops are fine.
#
# In a terminal, in the folder that `minidl learn start my-exercises` has made:
#
# ```sh
# minidl learn check conv2d      # is it right? If not: what is wrong
# minidl learn hint conv2d       # a first hint; again for a second and a third
# ```
