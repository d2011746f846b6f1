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
# # 5. col2im: the gradient of the image
#
# **You need:** [chapter 4](04_im2col.py) (patches, `im2col`, dw).
#
# **Afterwards you can** compute dx of a convolution by hand, say why `col2im` adds and is no inverse of `im2col`,
# deal with stride and padding on the way back, and test a backward function without knowing the right answer.
#
# It takes about 15 minutes.

# %%
import numpy as np

import drawing
import figures
import minidl as md
from minidl.kernels import blocked, reference
from minidl.learn import show

# %% [markdown]
# ## By hand
#
# Once more x = [1, 2, 3, 4] and w = [1, 10, 100], so y = [321, 432]. Let dy = [1, 2] come back. What is dx, the
# gradient that goes to the layer before? The rule is the one of chapter 1: find every place where the pixel was used,
# multiply dy there by the factor beside the pixel, and add up.
#
#     y[0] = x[0] w[0] + x[1] w[1] + x[2] w[2]
#     y[1] =             x[1] w[0] + x[2] w[1] + x[3] w[2]
#
#     dx[0] = dy[0] w[0]              = 1 * 1            =   1
#     dx[1] = dy[0] w[1] + dy[1] w[0] = 1 * 10 + 2 * 1   =  12
#     dx[2] = dy[0] w[2] + dy[1] w[1] = 1 * 100 + 2 * 10 = 120
#     dx[3] =              dy[1] w[2] = 2 * 100          = 200
#
# The pixels in the middle are in both windows, so they receive two terms.

# %%
x = np.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 4, 1)  # (N, H, W, C)
w = np.array([1.0, 10.0, 100.0]).reshape(1, 3, 1, 1)  # (KH, KW, C, F)
dy = np.array([1.0, 2.0]).reshape(1, 1, 2, 1)  # (N, OH, OW, F)
dx = reference.conv2d_dx(dy, w, x.shape, stride=1, padding=0)
print(dx.ravel())
assert np.array_equal(dx.ravel(), [1, 12, 120, 200])

# %% [markdown]
# ## In two steps
#
# The forward pass had two steps: `im2col` copied the windows into patches, and a product with w made y of them. The
# backward pass goes through them in reverse.
#
# **Step 1: from dy to dpatches.** This is the linear layer of chapter 1, dx = dy @ w.T, with patches as its input:
#
#     dpatches = dy @ w.T = [1] @ [1 10 100] = [1  10  100]
#                           [2]                [2  20  200]
#
# **Step 2: from dpatches to dx.** Each number of dpatches is the gradient of one *copy*. A pixel was copied into
# every patch that contains it, and all its copies are the same pixel. If the pixel changes, all copies change, and
# the effects on L add up. So the pixel receives **the sum of the gradients of its copies**. The function that adds
# them up is `col2im`.

# %%
dpatches = dy.reshape(-1, 1) @ w.reshape(-1, 1).T  # (P, F) @ (F, K)
dx = reference.col2im(dpatches, x.shape, (1, 3), stride=1, padding=0)
print(dpatches, dx.ravel(), sep="\n")
assert np.array_equal(dpatches, [[1, 10, 100], [2, 20, 200]])
assert np.array_equal(dx.ravel(), [1, 12, 120, 200])

# %%
patches = reference.im2col(x, (1, 3), 1, 0)
figures.copies_and_sums(x, w, patches, dy, dpatches, dx)

# %% [markdown]
# ## col2im is not the inverse of im2col
#
# The name suggests that `col2im` turns patches back into the image. It doesn't. Give it the patches of x
# themselves, and each pixel comes back as often as it was copied:

# %%
back = reference.col2im(patches, x.shape, (1, 3), 1, 0)
print(back.ravel())
assert np.array_equal(back.ravel(), [1, 4, 6, 4])  # 1, 2, 2 and 1 copies of 1, 2, 3, 4

# %% [markdown]
# What is it then? `im2col` is a linear map: it can be written as a matrix S of zeros and ones. Each row of S stands
# for one number of patches, and its 1 tells which pixel was copied there:

# %%
# Column j of S is what im2col makes of an image in which pixel j is 1 and all others are 0.
selection = np.array([reference.im2col(unit.reshape(1, 1, 4, 1), (1, 3), 1, 0).ravel() for unit in np.eye(4)]).T
assert np.array_equal(selection @ x.ravel(), patches.ravel())
assert np.array_equal(selection.T @ dpatches.ravel(), dx.ravel())

figures.selection(selection, x, patches, dpatches, dx)

# %% [markdown]
# A row of S has one 1: it copies one pixel. A column of S has as many ones as the pixel has copies. In S.T this
# column is a row, and multiplying by a row of ones adds up. This holds in general: **the backward pass of a linear
# map multiplies by the transposed matrix. The transpose of copying is adding.** (Nobody stores S. It has mostly
# zeros.)
#
# In two dimensions the number of copies grows quickly. With a 3x3 window and stride 1, the centre of a 5x5 image
# lies in all nine windows. A corner lies in one. Send back a 1 for every copy, and `col2im` counts them:

# %%
image_shape = (1, 5, 5, 1)
ones = np.ones((9, 9))  # 9 windows, 9 pixels each
copies = reference.col2im(ones, image_shape, (3, 3), 1, 0)[0, :, :, 0]
print(copies)
assert copies[2, 2] == 9 and copies[0, 0] == 1 and copies.sum() == 81

figure, axes = drawing.canvas(11, 7.2, "In how many 3x3 windows a pixel lies")
strength = {1: None, 2: drawing.BLUE, 3: drawing.BLUE, 4: drawing.GREEN, 6: drawing.YELLOW, 9: drawing.ORANGE}
drawing.grid(axes, copies, 3, 1.6, colour=np.vectorize(strength.get, otypes=[object])(copies))
drawing.finish(figure, "05-counts")

# %% [markdown]
# ## The real code
#
# `col2im` mirrors `im2col` line by line. The slices are the same. Where `im2col` reads, `col2im` adds with `+=`;
# where `im2col` pads, `col2im` cuts the border off again.

# %%
show(reference.col2im, reference.unpad2d, reference.conv2d_dx)

# %% [markdown]
# **Why cut the border off?** The pixels of the border are no pixels of x. They are always 0, so nobody needs their
# gradient. With padding 1, x = [1, 2, 3, 4] has four windows. For dy = [1, 1, 1, 1] each window adds [1, 10, 100],
# one place further on:
#
#     [1  10  100              ]
#     [    1   10  100         ]
#     [         1   10  100    ]
#     [              1   10 100]
#     [1  11  111  111  110 100]      dx is the middle part, [11, 111, 111, 110]

# %%
four = np.ones((1, 1, 4, 1))
padded_row = np.pad(x, ((0, 0), (0, 0), (1, 1), (0, 0)))  # at the left and right only: our image is one row high
dpadded = reference.conv2d_dx(four, w, padded_row.shape, 1, 0)
print("with its border:", dpadded.ravel(), "  dx:", dpadded[:, :, 1:5].ravel())
assert np.array_equal(dpadded.ravel(), [1, 11, 111, 111, 110, 100])

# %% [markdown]
# **Stride.** With stride 2 on five pixels, the first window holds the pixels 0, 1, 2, and the second one 2, 3, 4.
# They share pixel 2 only. For dy = [1, 2] the dpatches are the same as before, but they are added at other places:
#
#     [1  10  100        ]
#     [         2  20 200]
#     [1  10  102  20 200]

# %%
dx2 = reference.conv2d_dx(dy, w, (1, 1, 5, 1), stride=2, padding=0)
print(dx2.ravel())
assert np.array_equal(dx2.ravel(), [1, 10, 102, 20, 200])

# %% [markdown]
# The shape of x must be told to `conv2d_dx`: it can't be found from dy. With stride 2, five pixels and six pixels
# both have two windows. The sixth pixel is in none of them, and its gradient is 0:

# %%
dx_six = reference.conv2d_dx(dy, w, (1, 1, 6, 1), stride=2, padding=0)
assert np.array_equal(dx_six.ravel(), [1, 10, 102, 20, 200, 0])

# %% [markdown]
# **A trap of NumPy.** It is tempting to make an array `index` of pixel numbers and add everything at once:
#
#     a[index] += v
#
# But where `index` contains a pixel twice, NumPy doesn't add twice: one of the two is lost. `np.add.at` adds both,
# slowly. The loop in `col2im` avoids the problem. For one k, the slices never contain a pixel twice, and different k
# are added one after the other.

# %%
index = np.array([[0, 1, 2], [1, 2, 3]])  # the pixels of the two windows
lost, summed = np.zeros(4), np.zeros(4)
lost[index] += dpatches
np.add.at(summed, index, dpatches)
print("a[index] += v:", lost, "  np.add.at:", summed)
assert not np.array_equal(lost, [1, 12, 120, 200]) and np.array_equal(summed, [1, 12, 120, 200])

# %% [markdown]
# ## What goes wrong most often
#
# The right dx is [1, 12, 120, 200]:
#
# | answer | what happened |
# |---|---|
# | [100, 210, 21, 2] | the filter was turned round |
# | [1, 2, 20, 200] | assigned where it must be added: the last copy wins |
# | [1, 10, 100, 200] | the same, but the first copy wins |
# | [1, 6, 60, 200] | the sum over the copies was divided by their number |
# | [1, 12, 120] | the last pixel was cut off |
# | [1, 12, 120, 200, 0] for stride 2 | the stride was forgotten (right: [1, 10, 102, 20, 200]) |
#
# And for `col2im` of the patches of x (right: [1, 4, 6, 4]):
#
# | answer | what happened |
# |---|---|
# | [1, 2, 3, 4] | written as the inverse: assigned, or averaged |
# | [1, 5, 5, 4] | dpatches was reshaped with its axes exchanged |
# | [3, 6, 4, 2] | the offsets were counted from the other end |
# | [1, 2, 3, 0] | one window is missing |
# | six numbers | the border of the padding was not cut off |

# %%


def added(patches):
    return reference.col2im(np.asarray(patches), x.shape, (1, 3), 1, 0).ravel()


first_wins, last_wins = np.zeros(4), np.zeros(4)
for i in (0, 1):
    last_wins[i : i + 3] = dpatches[i]
    first_wins[1 - i : 4 - i] = dpatches[1 - i]
assert np.array_equal(added(dpatches[:, ::-1]), [100, 210, 21, 2])
assert np.array_equal(last_wins, [1, 2, 20, 200]) and np.array_equal(first_wins, [1, 10, 100, 200])
assert np.array_equal(added(dpatches) / [1, 2, 2, 1], [1, 6, 60, 200])
assert np.array_equal(added(patches.T.reshape(2, 3)), [1, 5, 5, 4])
assert np.array_equal(added(patches[:, ::-1]), [3, 6, 4, 2])
assert np.array_equal(added([patches[0], [0, 0, 0]]), [1, 2, 3, 0])

# %% [markdown]
# ## Another way to the same dx
#
# For stride 1 there is a second form. Write zeros around dy, and turn the filter round:
#
#     [0, 0, 1, 2, 0, 0]  with the filter  [100, 10, 1]
#
# The ordinary convolution of the two gives 1, 10 + 2 = 12, 100 + 20 = 120 and 200. This is dx. So with stride 1
# **the gradient of a convolution is a convolution of dy with the filter turned round** (and its channels and
# filters exchanged). No sums into overlapping places are needed. minidl's default on a CPU,
# `minidl/kernels/blocked.py`, uses this form where it is faster. It is the `if` in the code below. What follows is
# `reference.conv2d_dx` for some images at a time.

# %%
padded_dy = np.pad(dy, ((0, 0), (0, 0), (2, 2), (0, 0)))
again = reference.conv2d(padded_dy, w[:, ::-1], 1, 0)
print(again.ravel())
assert np.array_equal(again.ravel(), [1, 12, 120, 200])

show(blocked.conv2d_dx)

# %% [markdown]
# ## Two tests that need no right answer
#
# **The dot product test.** If one function multiplies by S and the other by S.T, then for any arrays a and b
#
#     sum of (S a) * b  =  sum of a * (S.T b)
#
# since both are the sum of b[i] S[i,j] a[j] over all i and j. Random numbers will do. If `im2col` is right, this
# finds nearly every mistake in a `col2im`, for any stride and padding, without knowing one right dx.

# %%
rng = np.random.default_rng(0)
for kernel, stride, padding in (((3, 3), 1, 1), ((2, 3), 2, 0), ((3, 3), 3, 2)):
    a = rng.normal(size=(2, 7, 6, 3))
    s_a = reference.im2col(a, kernel, stride, padding)
    b = rng.normal(size=s_a.shape)
    left, right = (s_a * b).sum(), (a * reference.col2im(b, a.shape, kernel, stride, padding)).sum()
    print(f"kernel {kernel}, stride {stride}, padding {padding}: {left:.10f} and {right:.10f}")
    assert np.isclose(left, right)

# %% [markdown]
# **The gradient check** measures the derivatives, as at the end of chapter 1. It tests dw, db and dx together:

# %%
report = md.gradcheck(md.Conv2D(3, 4, 3, stride=2, padding=1, rng=0, dtype=np.float64), rng.normal(size=(2, 7, 6, 3)))
print(report)
assert report.error < 1e-7

# %% [markdown]
# ## Exercises
#
# - `col2im`: write the sum over the copies, for any window, stride and padding.
# - `conv2d_dx`: write the gradient of the image. You may use your own `col2im` or minidl's.
#
# In a terminal, in the folder that `minidl learn start my-exercises` has made:
#
# ```sh
# minidl learn check col2im      # is it right? If not: what is wrong
# minidl learn hint col2im       # a first hint; again for a second and a third
# ```
