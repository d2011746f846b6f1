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
# # 11. Looking back to the pixels, and what not to believe
#
# **You need:** ReLU from [chapter 1](01_linear.py), [chapter 7](07_pooling.py) for the switches of a max pool, and
# [chapter 9](09_training.py) for the mode PROBE.
#
# **Afterwards you can** ask a trained network which pixels a neuron answers to, in three ways that differ in one line
# of code, and test whether such a picture says anything about what the network has learned.
#
# It takes about 15 minutes.

# %%
import numpy as np

import charts
import later_figures
import minidl as md
from minidl.kernels import reference
from minidl.learn import show
from minidl.training.checkpoints import load_checkpoint
from minidl.visual.control import likeness, null, randomised

# %% [markdown]
# ## The question
#
# A *unit* is one channel of a layer: a neuron that looks at every place of the image. On an image its output is a
# map. We would like to know what the unit sees in this image. One way to ask: **if a pixel became a little brighter,
# how would the unit change?** That is a derivative again. Only this time it isn't the derivative of the loss with
# respect to a weight, but that of a unit with respect to the pixels.
#
# We have everything that is needed. The backward pass goes from the end of the network to its input. It doesn't care
# what we send back. Instead of dy = dL/dy we send a *signal* that begins at the unit: the unit's own map in its
# channel, and zeros in all other channels. What arrives at the pixels is an image. Three ways back are in use:
#
# - **gradient** (Simonyan et al. 2014): nothing is changed. The result is a true derivative.
# - **deconvnet** (Zeiler & Fergus 2013) and **guided** backpropagation (Springenberg et al. 2015): the backward pass
#   of the ReLU is replaced by another rule. The pictures are cleaner. They are no derivatives of anything.
#
# ## One line makes the difference
#
# Take a ReLU with the input x = [4, -5, 6], so y = [4, 0, 6]. The signal s = [-1, 2, 3] arrives from above. There are
# two reasons to stop a number: the input x was not positive, or the signal s is not positive.
#
# | rule | passes where | result |
# |---|---|---|
# | gradient | x > 0 | [-1, 0, 3] |
# | deconv | s > 0 | [0, 2, 3] |
# | guided | x > 0 and s > 0 | [0, 0, 3] |
#
# The deconvnet treats the signal as if it went *forward* through a ReLU. It doesn't look at x at all. Guided
# backpropagation does both.

# %%
show(md.ReLU.project)
relu, x, signal = md.ReLU(), np.array([4.0, -5.0, 6.0]), np.array([-1.0, 2.0, 3.0])
_, mask = relu.forward(x, md.PROBE)
results = {}
for rule, expected in (("gradient", [-1, 0, 3]), ("deconv", [0, 2, 3]), ("guided", [0, 0, 3])):
    results[rule] = relu.project(signal, mask, rule) + 0.0  # so that -0 becomes 0
    print(f"{rule:8}", results[rule])
    assert results[rule].tolist() == expected

# %%
later_figures.three_rules(x, signal, results)

# %% [markdown]
# Every layer of minidl has a method `project` beside `backward`. For most layers it simply is the input gradient: a
# convolution sends the signal back through its filters. (Its bias plays no part in any of the three: it doesn't
# depend on x.) Only activations such as ReLU, max pooling and batch normalization
# look at the rule.
#
# **Max pooling** sends the signal to the maxima, by its switches. When windows overlap, several may share their
# maximum. For a gradient it must receive the *sum* (chapter 7). Some deconvnets do something else there: they keep
# the *last* signal, or the *max*, the largest one. With the map of chapter 7, whose centre is the maximum of four
# windows, and the signals 1, 4, 3, 2:

# %%
show(md.MaxPool2D.project)
pool, centre = md.MaxPool2D(3, stride=2), np.zeros((1, 5, 5, 1))
centre[0, 2, 2, 0] = 9.0
_, cache = pool.forward(centre, md.PROBE)
signals = np.array([1.0, 4.0, 3.0, 2.0]).reshape(1, 2, 2, 1)  # (OH OW,) -> (N, OH, OW, C)
for unpool, expected in (("sum", 10), ("last", 2), ("max", 4)):
    result = pool.project(signals, cache, md.Rule("deconv", unpool=unpool))
    print(f"{unpool:4} {result[0, 2, 2, 0]:g}")
    assert result[0, 2, 2, 0] == expected
assert cache.index.ravel().tolist() == [8, 6, 2, 0]

# %% [markdown]
# "Max" means the largest number *with its sign*: of -1 and -4 it is -1. A code that starts with zeros and takes the
# maximum would give 0.

# %%
largest = reference.max_pool_dx(-signals, cache.index, centre.shape, 3, 2, 0, overlap="max")
print("largest of -1, -4, -3, -2:", largest[0, 2, 2, 0])
assert largest[0, 2, 2, 0] == -1

# %% [markdown]
# **Batch normalization** multiplies a channel by gamma / √(var + eps), and so does its gradient in the mode PROBE. A
# deconvnet may leave it out ("skip"), because the pictures look better. Where gamma is negative, the channel then has
# the opposite sign. Again: no derivative of anything.

# %%
show(md.BatchNorm2D.project)

# %% [markdown]
# ## A trained network
#
# minidl comes with the paper's network, trained on Tiny ImageNet. We show it drawings from the data set `shapes`,
# which it has never seen. That makes no difference for our question: what do its units answer to? (`about` says how
# the network was trained, among other things which mean and standard deviation its images had. Ours are brought to
# the same.)

# %%
model = md.models.load_pretrained("refined")
about = load_checkpoint(md.models.weights_file("refined")).about
images = md.load_shapes(train=1, val=40).val.images(np.arange(40))
x = md.normalise(images, about.mean, about.std)

layer = "inception2.b5"
maps = md.activations(model, x, layer)[layer]  # (N, H, W, units)
strength = np.sqrt((maps**2).sum(axis=(1, 2)))  # (N, units): how strongly a unit answers to an image
selective = strength.max(axis=0) / strength.mean(axis=0)
units = np.argsort(-selective)[:4]  # the four units whose best image stands out most
best = strength.argmax(axis=0)  # of each unit
print("maps:", maps.shape, " units:", units, " their best images:", best[units])
assert maps.shape == (40, 16, 16, 16)

# %% [markdown]
# A picture of each unit's best image, by all three ways. `md.gradient`, `md.guided` and `md.deconv` take a model,
# images, the name of a layer and a unit. The signal starts as the unit's map. (That of `md.deconv` is divided by its
# norm, which changes nothing but the scale.)

# %%
ways = {"gradient": md.gradient, "guided": md.guided, "deconv": md.deconv}
seen = {name: way(model, x[best[units]], layer, units) for name, way in ways.items()}
charts.gallery(images[best[units]], seen, "11-three-ways")

# %% [markdown]
# The gradient looks like noise around an outline. Guided backpropagation and the deconvnet show clean edges. It is
# tempting to say: they show *better* what the unit has learned. Wait.
#
# ## First test: is it a derivative?
#
# The signal that `md.gradient` starts with is the unit's map a itself. The derivative of a² / 2 is a. So the result
# must be the gradient of L = sum of a² / 2, and chapter 10 tells how to test that: along a random direction. We take
# float64 for it, and a step that is so small that few ReLUs switch.

# %%
precise = md.convert(model, dtype=np.float64)
one, unit = x[best[units[:1]]].astype(np.float64), int(units[0])
direction = np.random.default_rng(0).normal(size=one.shape)
direction /= np.sqrt((direction**2).sum())


def energy(x):
    return (md.activations(precise, x, layer)[layer][..., unit] ** 2).sum() / 2


measured = (energy(one + 1e-6 * direction) - energy(one - 1e-6 * direction)) / 2e-6
print(f"measured  {measured:10.5f}")
along = {}
for name, way in ways.items():
    # seed="map": all three start with the same signal, the map itself
    along[name] = float((way(precise, one, layer, unit, seed="map") * direction).sum())
    print(f"{name:9} {along[name]:10.5f}")
assert np.isclose(along["gradient"], measured, rtol=1e-3)
assert not np.isclose(along["guided"], measured, rtol=0.1) and not np.isclose(along["deconv"], measured, rtol=0.1)

# %% [markdown]
# Only the gradient passes. The other two are rules that somebody thought of. That alone doesn't make them useless.
#
# ## Second test: does it depend on what was learned?
#
# Here is a test by Adebayo et al. (2018). Replace all weights by random ones, as before any training, and let the
# batch normalizations take their statistics from our images. (`randomised` does both.) Make the same pictures. **A
# picture that still looks the same can't be about what the network has learned.**

# %%
untrained = randomised(model, np.array_split(x, 2), threads=1)
random = {name: way(untrained, x[best[units]], layer, units) for name, way in ways.items()}
both = {"trained": seen, "random": random}
columns = {f"{name}\n{net}": pictures[name] for name in ways for net, pictures in both.items()}
charts.gallery(images[best[units]], columns, "11-random")

# %% [markdown]
# Look at the columns of guided and deconv: a network that has learned *nothing* draws the outlines of the object too.
# The rules let strong edges of the image pass, whatever the weights are. For the gradient this is weaker.
#
# Looking is not measuring. To compare two pictures, take the strength of every pixel, and sort the pixels by it. If
# both pictures agree on which pixels are strong and which are weak, the *rank correlation* is 1; if they have nothing
# to do with each other, it is 0. In minidl it is called likeness. But even pictures of *different* images are
# somewhat alike, for example because the unit never reacts to the border of an image. How alike these are is called
# the *null*. So the question is how far the likeness of the same image lies above the null. We ask it of all 16 units
# of the layer, and take the median, because single pictures differ a lot.

# %%
top = np.argsort(-strength, axis=0)[:9]  # the nine best images of each unit, (9, units)
measured = {}
for name, way in ways.items():
    pairs = []
    for unit in range(16):
        trained_pictures = way(model, x[top[:, unit]], layer, unit)
        random_pictures = way(untrained, x[top[:, unit]], layer, unit)
        pairs.append((likeness(trained_pictures, random_pictures), null(trained_pictures, random_pictures)))
    measured[name] = np.median(pairs, axis=(0, 2))
    print(f"{name:8} likeness {measured[name][0]:.2f}, null {measured[name][1]:.2f}")
excess = {name: same - other for name, (same, other) in measured.items()}
assert excess["guided"] > 0.1 and excess["deconv"] > 0.05 and excess["gradient"] < excess["deconv"]

# %% [markdown]
# The units of one layer and a few drawings are a demonstration, not a study. The study is in
# [docs/visualization.md](../visualization.md#how-far-to-trust-a-picture), with Tiny ImageNet and many units: there
# the likeness of guided pictures and deconvnets is far above the null, and that of gradients only a little. So a
# deconvnet shows mostly *what is in the image*. An edge of the image that the unit ignores may well be in the
# picture.
#
# ## A second witness: occlusion
#
# There is a way that needs no backward pass, and so no rule. Cover a part of the image with a gray square, run the
# network, and see how much weaker the unit becomes. Where the square hurts most, the unit was looking.

# %%
unit, image = int(units[0]), x[best[units[0]]]
corners = [(row, column) for row in range(0, 56, 8) for column in range(0, 56, 8)]
covered = np.repeat(image[None], len(corners), axis=0)  # (49, H, W, 3)
for picture, (row, column) in zip(covered, corners, strict=True):
    picture[row : row + 16, column : column + 16] = 0.0  # the mean colour of all images, since x is normalized
weaker = np.sqrt((md.activations(model, covered, layer)[layer][..., unit] ** 2).sum(axis=(1, 2)))
loses = (1 - weaker / strength[best[unit], unit]).reshape(7, 7)  # (49,) -> (rows, columns)
row, column = np.unravel_index(loses.argmax(), (7, 7))
print(f"the unit loses most, {loses.max():.0%}, if the square covers rows {8 * row} to {8 * row + 15},", end=" ")
print(f"columns {8 * column} to {8 * column + 15}")
assert loses.shape == (7, 7) and 0.05 < loses.max() <= 1

# %%
charts.occlusion(images[best[unit]], seen["gradient"][0], loses)

# %% [markdown]
# Occlusion has its own weakness: the gray square is an object too, with four edges. No picture is the truth. Two
# pictures that agree, made in ways that have nothing in common, are worth more than one.
#
# ## What not to believe
#
# - **A clean picture isn't a right one.** Guided and deconv look better than the gradient, and depend less on the
#   weights.
# - **The best images mislead.** The nine strongest images of a unit may all show dogs, and the tenth a car. Look at
#   an image from the middle too. (The atlas does: "from strong to weak".)
# - **Every picture has its own scale.** A signal a thousand times fainter looks just as strong, once it is stretched
#   from black to white.
# - **Flat parts of an image** have equal pixels. There the switch of a max pool is arbitrary, and the signal goes to
#   one of them by convention.
# - **Grad-CAM** is another popular picture: it adds up the maps of a layer, each times its mean gradient. For the
#   last maps before a global average pool, this is how much each place adds to the score of a class. For earlier
#   layers nothing guarantees it.
#
# `minidl atlas` draws gradient, guided and deconv for every unit of a network of your own, and beside them what the
# random network shows ([docs/atlas.md](../atlas.md)).
#
# ## What to remember
#
# - A signal can be sent back from anywhere. From a unit it gives a picture.
# - gradient: [x > 0]. deconv: [s > 0]. guided: both.
# - Before you believe a picture, make it once more with random weights.
#
# ## Exercises
#
# - `relu_project`: take a signal back through a ReLU by each of the three rules.
# - `unpool`: send signals to the maxima of a max pool, and where several windows share one, keep their sum, the last
#   or the largest.
#
# In a terminal, in the folder that `minidl learn start my-exercises` has made:
#
# ```sh
# minidl learn check unpool      # is it right? If not: what is wrong
# minidl learn hint unpool       # a first hint; again for a second and a third
# ```
