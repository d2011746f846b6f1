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
# # 6. Batch normalization, and three paths back
#
# **You need:** [chapter 1](01_linear.py). Mean, variance and standard deviation.
#
# **Afterwards you can** normalize a batch by hand, say what the running statistics are for, derive dx with its
# three paths, and explain why a gradient check with dy = 1 misses a whole path.
#
# It takes about 20 minutes.

# %%
import numpy as np

import drawing
import figures
import minidl as md
from minidl.kernels import reference
from minidl.learn import show

# %% [markdown]
# ## Forward
#
# In a deep network the numbers may grow or shrink from layer to layer, and the gradients with them, until nothing
# is learned. Batch normalization brings them back into one range after each convolution. It moves and scales its
# input so that the mean becomes 0 and the variance 1. Then it multiplies by a learned number gamma and adds a
# learned number beta, so that the network can choose another range where it needs one.
#
#     mean = (1/M) sum of x
#     var  = (1/M) sum of (x - mean)^2
#     xhat = (x - mean) / sqrt(var + eps)
#     y    = gamma xhat + beta
#
# M is how many numbers go into the mean. eps is a tiny number, 0.00001. It keeps us from dividing by 0 where all x
# are equal. The code often needs the factor inv_std = 1 / sqrt(var + eps), so it has a name. ("std" is the standard
# deviation, the square root of the variance.)
#
# Take x = [1, 2, 3], with gamma = 1, beta = 0 and eps = 0:
#
#     mean = 2        var = (1 + 0 + 1) / 3 = 2/3        inv_std = sqrt(3/2) = 1.2247
#     xhat = [-1, 0, 1] * 1.2247 = [-1.2247, 0, 1.2247]

# %%
x = np.array([1.0, 2.0, 3.0])
mean = x.mean()
var = ((x - mean) ** 2).mean()
inv_std = 1 / np.sqrt(var)
xhat = (x - mean) * inv_std
print(f"mean {mean}, var {var:.4f}, inv_std {inv_std:.4f}, xhat {xhat.round(4)}")
assert np.allclose([mean, var, inv_std], [2, 2 / 3, 1.2247], atol=5e-5)
assert np.allclose(xhat, [-1.2247, 0, 1.2247], atol=5e-5)

# %% [markdown]
# **Which numbers share a mean?** In an image network each *channel* has a mean, a variance, a gamma and a beta of
# its own. The mean of a channel is taken over all images of the batch and all their pixels, so M = N H W. In NumPy
# that is `x.mean(axis=(0, 1, 2))` for x (N, H, W, C). Two images of 1x2 pixels with two channels:

# %%
batch = np.array([[[[1.0, 10.0], [2.0, 30.0]]], [[[3.0, 20.0], [6.0, 40.0]]]])  # (N, H, W, C) = (2, 1, 2, 2)
channel_mean, channel_var = reference.batch_statistics(batch)
print("means", channel_mean, "variances", channel_var)
assert np.array_equal(channel_mean, [3, 25]) and np.array_equal(channel_var, [3.5, 125])

figure, axes = drawing.canvas(15, 5.6, "One mean for each channel, over all images and pixels")
pair = np.array([[drawing.BLUE, drawing.YELLOW]] * 2)
drawing.grid(axes, batch[0, 0], 1.2, 2.2, label="image 0", colour=pair)
drawing.grid(axes, batch[1, 0], 4.2, 2.2, label="image 1", colour=pair)
drawing.arrow(axes, (6.8, 3.2), (9.2, 3.2))
drawing.grid(axes, [channel_mean], 9.8, 2.7, label="mean", colour=pair[:1])
drawing.grid(axes, [channel_var], 12.4, 2.7, label="var", colour=pair[:1])
drawing.note(axes, "rows: pixels.   columns: channels.", (3.7, 4.8))
drawing.finish(figure, "06-channels")

# %%
show(reference.batch_statistics, reference.batch_norm)

# %% [markdown]
# **Why two passes over x?** The variance is also the mean of x^2 minus the square of the mean, which needs only one
# pass. But that subtracts two large numbers. Single precision holds about seven digits. For x = [9999, 10001] the
# squares are 99,980,001 and 100,020,001. They have too many digits and are rounded. What is left after the
# subtraction is 0 instead of 1. Then only eps is left under the root, and inv_std is 316 instead of 1.

# %%
far = np.array([9999.0, 10001.0], dtype=np.float32)
one_pass = (far * far).mean() - far.mean() ** 2
two_passes = ((far - far.mean()) ** 2).mean()
print("one pass:", one_pass, "  two passes:", two_passes)
assert one_pass == 0 and two_passes == 1 and round(1 / np.sqrt(1e-5)) == 316

# %% [markdown]
# ## Training and afterwards
#
# During training, mean and var are those of the batch. Afterwards there may be a single image, and its answer must
# not depend on which other images come along. So in training the layer also keeps *running statistics*, and uses
# them later in place of the batch's. They start at mean 0 and variance 1. After each batch they move a tenth of the
# way (momentum = 0.1) to the batch's values:
#
#     running_mean <- running_mean + momentum (mean - running_mean)
#     running_var  <- running_var  + momentum (var M/(M-1) - running_var)
#
# A batch is a small sample of all images, and on average the variance of a sample is a little too small. The factor
# M/(M-1) corrects this. It is used here only; the normalization itself divides by M. (Statistics calls the corrected
# variance *unbiased*, and the other one *biased*.) For x = [2, 4, 6] the mean is 4, the variance 8/3, and the
# corrected variance 8/3 · 3/2 = 4:
#
#     running_mean = 0 + 0.1 (4 - 0) = 0.4          running_var = 1 + 0.1 (4 - 1) = 1.3

# %%
layer = md.BatchNorm2D(1, dtype=np.float64)
layer.forward(np.array([[2.0], [4.0], [6.0]]), md.TRAIN)  # (N, C) = (3, 1)
print({name: buffer.tolist() for name, buffer in layer.buffers.items()})
assert np.allclose(layer.buffers["running_mean"], 0.4) and np.allclose(layer.buffers["running_var"], 1.3)

show(reference.move_running)

# %% [markdown]
# minidl has a *mode* for each kind of pass. TRAIN uses the batch's statistics. PROBE and INFER use the running
# ones. PROBE keeps a cache, so that one can go backward and look at gradients; INFER only gives answers.
#
# ## Backward: gamma and beta
#
# With y = gamma xhat + beta and the rule of chapter 1 (find every place, multiply dy by the factor beside the number,
# add up) the learned numbers are easy. Beta is added to every y, and gamma stands beside xhat:
#
#     dbeta = sum of dy          dgamma = sum of dy xhat          over the M numbers of a channel
#
# For x = [1, 2, 3] and dy = [1, 0, 0]: dbeta = 1 and dgamma = -1.2247.

# %%
dy = np.array([1.0, 0.0, 0.0])
dbeta, dgamma = dy.sum(), (dy * xhat).sum()
assert dbeta == 1 and np.isclose(dgamma, -1.2247, atol=5e-5)

# %% [markdown]
# ## Backward: the three paths to dx
#
# Let dxhat = dL/dxhat = gamma dy. Now follow x to xhat = (x - mean) inv_std. Each x[i] acts on xhat in three ways:
#
# 1. **directly**: it is used in its own xhat[i], with the factor inv_std;
# 2. **through the variance**: it changes var, and var changes *all* xhat;
# 3. **through the mean**: it changes the mean, and the mean changes *all* xhat.
#
# dx is the sum of the three. Let us work them out for x = [1, 2, 3], dy = [1, 0, 0] and gamma = 1, so dxhat = [1,
# 0, 0].
#
# **Path 1.** dxhat inv_std = [1.2247, 0, 0].
#
# **Path 2.** First, how does L change with var? The derivative of inv_std = var^(-1/2) is -1/2 var^(-3/2), which is
# -1/2 inv_std^3, and here inv_std^3 = 1.8371. In every xhat, inv_std has the factor (x - mean):
#
#     dvar = sum of  dxhat (x - mean) (-1/2) inv_std^3 = 1 * (-1) * (-1/2) * 1.8371 = 0.9186
#
# Then, how does var change with x[i]? By 2 (x[i] - mean) / M. So the second path brings
#
#     dvar 2 (x - mean) / M = 0.9186 * 2 * [-1, 0, 1] / 3 = [-0.6124, 0, 0.6124]
#
# **Path 3.** The mean is used in every xhat, with the factor -inv_std. And each x[i] changes the mean by 1/M:
#
#     dmean = sum of  -dxhat inv_std = -1.2247
#     dmean / M = [-0.4082, -0.4082, -0.4082]
#
# (The mean is used in the variance, too. But that path carries nothing. The derivative of var with respect to the
# mean is -2/M times the sum of (x - mean), and the deviations from the mean add up to 0.)
#
# **Together:** dx = [1.2247 - 0.6124 - 0.4082,  -0.4082,  0.6124 - 0.4082] = [0.2041, -0.4082, 0.2041].

# %%
m = len(x)
dxhat = 1.0 * dy  # gamma = 1

path1 = dxhat * inv_std
dvar = (dxhat * (x - mean) * -0.5 * inv_std**3).sum()
path2 = dvar * 2 * (x - mean) / m
dmean = (-dxhat * inv_std).sum()
path3 = np.full(3, dmean / m)
dx = path1 + path2 + path3
for name, path in (("direct", path1), ("variance", path2), ("mean", path3), ("dx", dx)):
    print(f"{name:9}", path.round(4))
assert np.allclose([inv_std**3, dvar, dmean], [1.8371, 0.9186, -1.2247], atol=5e-5)
assert np.allclose(path2, [-0.6124, 0, 0.6124], atol=5e-5) and np.allclose(path3, -0.4082, atol=5e-5)
assert np.allclose(dx, [0.2041, -0.4082, 0.2041], atol=5e-5)

# %%
figures.three_paths(x, xhat, path1, path2, path3)

# %% [markdown]
# ## In one line
#
# Written with dgamma and dbeta, which we have already, the three paths become short. Use (x - mean) inv_std = xhat
# and dxhat = gamma dy:
#
#     path 2 = -gamma inv_std xhat dgamma / M          path 3 = -gamma inv_std dbeta / M
#
#     dx = gamma inv_std (dy - dbeta/M - xhat dgamma/M)
#
# There is a way to see that this must be so. Add the same number to all x: the mean grows by it, and y doesn't
# change. So dx must add up to 0. Or move all x away from their mean, each in proportion to its xhat: the standard
# deviation grows in the same proportion, and y doesn't change (up to eps). So the sum of dx xhat must be 0, too. The
# formula takes dy and removes exactly these two parts. With three numbers and two conditions there is little freedom
# left: every dx for x = [1, 2, 3] is a multiple of [1, -2, 1].

# %%
short = inv_std * (dy - dbeta / m - xhat * dgamma / m)
assert np.allclose(short, dx)
assert np.isclose(dx.sum(), 0) and np.isclose((dx * xhat).sum(), 0)

show(reference.batch_norm_sums, reference.batch_norm_dx)

# %% [markdown]
# Measuring gives the same. L = sum of y * dy has dL/dy = dy, so the central differences of L are dx:

# %%


def loss_of(x):
    return ((x - x.mean()) / np.sqrt(((x - x.mean()) ** 2).mean()) * dy).sum()


step = 1e-5
measured = [(loss_of(x + step * unit) - loss_of(x - step * unit)) / (2 * step) for unit in np.eye(3)]
print(np.round(measured, 4))
assert np.allclose(measured, dx)

# %% [markdown]
# ## After training the statistics are constants
#
# In PROBE mode, mean and inv_std are the running ones. They don't depend on x, so paths 2 and 3 don't exist:
#
#     dx = gamma inv_std dy
#
# A layer must know which of the two forward passes its cache comes from. Here the cache has a field `training` for
# that. To use the training formula in both modes is a common mistake.

# %%
show(md.BatchNorm2D.input_grad)

# %%
layer = md.BatchNorm2D(1, eps=0, dtype=np.float64)
layer.buffers["running_mean"][...] = mean
layer.buffers["running_var"][...] = var
for mode, expected in ((md.TRAIN, [0.2041, -0.4082, 0.2041]), (md.PROBE, [1.2247, 0, 0])):
    _, cache = layer.forward(x[:, None], mode)  # (3,) -> (N, C) = (3, 1)
    answer = layer.input_grad(dy[:, None], cache).ravel()
    print(mode.mode.name, answer.round(4))
    assert np.allclose(answer, expected, atol=5e-5)
    if mode is md.TRAIN:  # the TRAIN pass moved the running statistics: put them back
        layer.buffers["running_mean"][...], layer.buffers["running_var"][...] = mean, var

# %% [markdown]
# ## What goes wrong most often
#
# The right answer is [0.204, -0.408, 0.204].

# %%
wrong = {
    "mean and variance taken as constants (the PROBE formula)": path1,
    "the path through the variance is missing": path1 + path3,
    "the path through the mean is missing": path1 + path2,
    "sums in place of means: 1/M is missing": inv_std * (dy - dbeta - xhat * dgamma),
    "multiplied by the standard deviation, not by its inverse": dx / inv_std**2,
}
for mistake, value in wrong.items():
    print(f"{str(value.round(3).tolist()):24} {mistake}")
expected = [
    [1.225, 0, 0],
    [0.816, -0.408, -0.408],
    [0.612, 0, 0.612],
    [-1.837, -1.225, 0.612],
    [0.136, -0.272, 0.136],
]
assert np.allclose(list(wrong.values()), expected, atol=6e-4)

# %% [markdown]
# **A check that sees nothing.** Let us test the second of these mistakes with dy = [1, 1, 1]. Then L is the sum of
# all y, which is always 0 (for beta = 0). So the right dx is 0. The wrong formula gives 0, too: the direct path and
# the path through the mean cancel. The path through the variance, which is missing, would add 0 as well, because
# dgamma = sum of xhat = 0. So the check passes. With dy = [1, 0, 0] it fails at once. So a gradient check must use
# random dy. `md.gradcheck` does.

# %%


def without_variance(dy):
    return inv_std * (dy - dy.mean())


def right_dx(dy):
    return inv_std * (dy - dy.mean() - xhat * (dy * xhat).mean())


for name, given in (("dy = 1, 1, 1", np.ones(3)), ("dy = 1, 0, 0", dy)):
    print(f"{name}: largest error {abs(without_variance(given) - right_dx(given)).max():.3f}")
assert np.allclose(without_variance(np.ones(3)), right_dx(np.ones(3)))
assert abs(without_variance(dy) - right_dx(dy)).max() > 0.6

for mode in (md.TRAIN, md.PROBE):
    layer = md.BatchNorm2D(3, dtype=np.float64)
    report = md.gradcheck(layer, np.random.default_rng(0).normal(size=(2, 4, 4, 3)), mode=mode)
    print(f"gradient check in {mode.mode.name}: worst relative error {report.error:.0e}")
    assert report.error < 1e-7

# %% [markdown]
# ## Exercises
#
# - `batch_statistics`: write mean and biased variance of every channel, in two passes.
# - `move_running`: write the step of the running statistics, in place.
# - `batch_norm`: write y from x, the statistics, gamma and beta.
# - `batch_norm_sums`: write dgamma and dbeta.
# - `batch_norm_dx`: write dx of a training pass.
# - `batch_norm_input_grad`: write the method that gives dx after a TRAIN pass and after a PROBE pass.
#
# In a terminal, in the folder that `minidl learn start my-exercises` has made:
#
# ```sh
# minidl learn check batch_norm_dx      # is it right? If not: what is wrong
# minidl learn hint batch_norm_dx       # a first hint; again for a second and a third
# ```
