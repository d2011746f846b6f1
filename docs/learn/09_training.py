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
# # 9. Training: modes, dropout, optimizers, schedules
#
# **You need:** [chapter 2](02_softmax.py), which ends in one training step, and [chapter 6](06_batch_norm.py), where
# batch normalization keeps running statistics.
#
# **Afterwards you can** say what differs between training and use, write dropout, SGD with momentum and Adam, choose
# a learning rate for every step, and train a small network on images in less than a minute.
#
# It takes about 20 minutes.

# %%
import numpy as np

import charts
import minidl as md
from minidl.kernels import reference
from minidl.learn import show

# %% [markdown]
# ## Three modes, and the cache
#
# Two kinds of layer behave differently in training than in use. Batch normalization takes the mean and variance of
# the batch in training, and the running ones in use. Dropout, below, throws numbers away in training only. So every
# forward pass is told its *mode*:
#
# | mode | batch normalization | dropout | cache | for |
# |---|---|---|---|---|
# | `TRAIN` | the batch's statistics | on | kept | training |
# | `PROBE` | the running ones | off | kept | looking inside: a backward pass through the network as it is used |
# | `INFER` | the running ones | off | none | answers |
#
# The *cache* is what the layer will need on the way back. `forward` returns it beside y, and `backward` takes it. The
# layer itself remembers nothing. So a second forward pass can't spoil the cache of the first one.

# %%
relu = md.ReLU()
_, first_cache = relu.forward(np.array([1.0, -1.0]), md.TRAIN)
_, second_cache = relu.forward(np.array([-1.0, 1.0]), md.TRAIN)
_, no_cache = relu.forward(np.array([1.0, 1.0]), md.INFER)
print("first:", first_cache, " second:", second_cache, " INFER:", no_cache)
assert first_cache.tolist() == [True, False] and second_cache.tolist() == [False, True] and no_cache is None

# %% [markdown]
# ## Dropout
#
# A network can learn its training images by heart. Dropout makes this harder: in each step, it sets every number to
# zero with probability p. So no number can rely on another one being there.
#
# With p = 0.5, about half of the numbers are missing, and the next layer gets a sum that is about half as large. In
# use nothing is missing. To make up for it, the numbers that stay are multiplied by 1 / (1 - p), here by 2. Then the
# *mean* of y over many masks is x, as in use. So dropout multiplies x by a *mask* that consists of 0 and 2.
# (`to_device` in the source matters on a graphics card only.)

# %%
show(md.Dropout.forward, md.Dropout.input_grad)

mask = np.array([2.0, 0.0, 2.0, 0.0])
x = np.array([1.0, 2.0, 3.0, 4.0])
dy = np.ones(4)
dx = md.Dropout(0.5).input_grad(dy, mask)
print("y:", x * mask, " dx:", dx)
assert (x * mask).tolist() == [2, 0, 6, 0] and dx.tolist() == [2, 0, 2, 0]

# %% [markdown]
# Backward is as short: y = x m, so dx = dy m, with the **same mask**. That is why the mask is the cache. A number
# that was thrown away had no influence on L, and gets no gradient.
#
# | dx for dy = 1 | what was done (right: [2, 0, 2, 0]) |
# |---|---|
# | [1, 0, 1, 0] | the factor 1 / (1 - p) is missing |
# | [2, 2, 2, 2] | the mask is missing |
# | [4, 0, 4, 0] | the factor is applied twice: it is in the mask already |
# | such as [0, 2, 2, 0] | a new mask was drawn on the way back |
#
# One more mistake is invisible at p = 0.5: to multiply by 1 / p. With p = 0.2 the factor should be 1.25, and 1 / p is
# 5, which is 4 times too large. So test with another p than a half.

# %%
assert (dy * (mask > 0)).tolist() == [1, 0, 1, 0]
assert (dy * 2).tolist() == [2, 2, 2, 2] and (dy * mask * 2).tolist() == [4, 0, 4, 0]
assert 1 / (1 - 0.2) == 1.25 and (1 / 0.2) / 1.25 == 4

# %% [markdown]
# Where do the random numbers come from? A generator that lives in the layer would be one more thing to save. In
# minidl the mask depends on a seed, the number of the step and the layer's name, and on nothing else. So the pass
# must know the step: `md.TRAIN.at_step(7)`. A run that was interrupted and resumed draws the same masks as one that
# was not.

# %%
dropout, ones = md.Dropout(0.5), np.ones(8)
masks = [dropout.forward(ones, md.TRAIN.at_step(step))[1] for step in (7, 8, 7)]
print(*masks, sep="\n")
assert (masks[0] == masks[2]).all() and not (masks[0] == masks[1]).all()
assert dropout.forward(ones, md.INFER)[0] is ones

# %% [markdown]
# ## Gradient descent
#
# The backward pass gives g = dL/dw for each weight w. If w rises a little, L changes by g times as much. So to make L
# smaller, move w *against* g:
#
#     w <- w - lr g
#
# The *learning rate* lr says how far. This is plain gradient descent. It is called *stochastic* gradient descent,
# SGD, because g comes from a random batch and not from all images.
#
# Let us look at the trouble it has. L = (a² + 25 b²) / 2 is a long valley: flat along a, steep along b. Its gradient
# is (a, 25 b). Along b every step multiplies b by 1 - 25 lr. If lr is larger than 2 / 25 = 0.08, this factor is below
# -1, and b grows from step to step: the training diverges. With lr = 0.07 it is -0.75, so b jumps from side to side
# while it shrinks. But along a, the factor is 0.93, and progress is slow. **One learning rate must serve all
# directions, and the steepest one limits it.**


# %%
def descend(make_optimizer, steps=40):
    """The way of (a, b) down the valley, (steps + 1, 2)."""
    w = md.Parameter(np.array([-4.0, 1.0]))
    optimizer = make_optimizer({"w": w})
    way = [w.value.copy()]
    for _ in range(steps):
        w.grad[...] = w.value * [1.0, 25.0]
        optimizer.step()
        way.append(w.value.copy())
    return np.array(way)


ways = {
    "SGD": descend(lambda p: md.SGD(p, lr=0.07)),
    "momentum 0.8": descend(lambda p: md.SGD(p, lr=0.07, momentum=0.8)),
    "Nesterov 0.8": descend(lambda p: md.SGD(p, lr=0.03, momentum=0.8, nesterov=True)),
    "Adam": descend(lambda p: md.Adam(p, lr=0.3)),
}
for name, way in ways.items():
    print(f"{name:13} after one step {way[1].round(3)}, after 40 {way[-1].round(3)}")
assert np.allclose(ways["SGD"][1], [-4 * 0.93, -0.75])
assert np.allclose(ways["SGD"][-1], [-4 * 0.93**40, 0.75**40])

# %%
charts.valley(ways)

# %% [markdown]
# Each line starts at the top left, and each method has a learning rate that suits it. Plain SGD jumps from side to
# side at first. Then it creeps along the flat direction: after 40 steps it hasn't arrived. Momentum and Adam are
# there sooner, but run past the minimum and turn back. Nesterov's form hardly does. These three are explained now.
#
# ## Momentum
#
# If the gradient points the same way for many steps, the steps may become longer. If it jumps back and forth, they
# should cancel out. Both happen if we *collect* gradients in a second array v, the velocity, which forgets a part of
# itself in each step:
#
#     v <- mu v + g
#     w <- w - lr v
#
# Take mu = 0.9 and a gradient that is always 1. Then v is 1, then 0.9 + 1 = 1.9, then 2.71, and so on up to
# 1 / (1 - 0.9) = 10. So momentum 0.9 means: up to ten times longer steps in a direction that stays.
#
# **Nesterov's** form looks one step ahead. The next step will move along mu v anyway, whatever its gradient is. So
# this step does it already: with the new v, it moves w by lr (g + mu v) instead of lr v.

# %%
way = {}
for nesterov in (False, True):
    w = md.Parameter(np.array([1.0]))
    sgd = md.SGD({"w": w}, lr=0.1, momentum=0.9, nesterov=nesterov)
    way[nesterov] = []
    for _ in range(3):
        w.grad[...] = 1.0
        sgd.step()
        way[nesterov].append(w.value.item())
print("momentum:", np.round(way[False], 4), " Nesterov:", np.round(way[True], 4))
assert np.allclose(way[False], [0.9, 0.71, 0.439])  # steps of 0.1 times 1, 1.9, 2.71
assert np.allclose(way[True], [0.81, 0.539, 0.1951])  # 0.1 times 1 + 0.9, 1 + 1.71, 1 + 2.439

# %%
show(md.SGD._update)

# %% [markdown]
# The function works *in place*: `w -= move` changes the array that the layers use, while `w = w - move` would make a
# new array that nobody looks at. `_scratch` is working memory that all parameters share, so that no step has to ask
# for new memory.
#
# `_decayed` adds wd w to the gradient. This is *weight decay*: it pulls every weight a little towards zero.
#
# ## Adam
#
# Adam (Kingma & Ba 2015) gives every single weight a step length of its own. It keeps two running averages: m of the
# gradient, and v of its square. In each step they keep the shares b1 = 0.9 and b2 = 0.999 of their old values. The
# step is lr m / √v. (A tiny eps is added to √v, so that nothing is divided by zero.) If the gradient always has the
# same size and sign, m / √v is 1 or -1, and **the weight moves by lr, however large the gradient is**. If it changes
# its sign all the time, m is near 0, and the weight stays.

# %%
show(reference.adam)

# %% [markdown]
# The caller gives `step` = lr / (1 - b1^t) and `root` = √(1 - b2^t), where t is the number of the step. Why are there
# these two divisors? The averages start at 0. After the first step, m is only a tenth of the gradient, and v a
# thousandth of its square. Both are too small, and not by the same factor. An example, with g = 2 and lr = 0.001:
#
#     m = 0.1 · 2 = 0.2          corrected: 0.2 / (1 - 0.9) = 2
#     v = 0.001 · 4 = 0.004      corrected: 0.004 / (1 - 0.999) = 4
#     step = 0.001 · 2 / √4 = 0.001

# %%
lr, g, b1, b2 = 0.001, 2.0, 0.9, 0.999
w, m, v = np.zeros(1), np.zeros(1), np.zeros(1)
reference.adam(w, np.array([g]), m, v, lr / (1 - b1), (b1, b2), np.sqrt(1 - b2), 1e-8, 0.0)
print("w moves by", -w, " m", m, " v", v)
assert np.isclose(-w, 0.001) and np.isclose(m, 0.2) and np.isclose(v, 0.004)

moves = {
    "no correction": lr * 0.2 / np.sqrt(0.004),
    "only m is corrected": lr * 2 / np.sqrt(0.004),
    "only v is corrected": lr * 0.2 / np.sqrt(4),
    "the root is missing": lr * 2 / 4,
    "this is SGD": lr * g,
}
for mistake, move in moves.items():
    print(f"{move:.3g}  {mistake}")
assert [float(f"{move:.3g}") for move in moves.values()] == [0.00316, 0.0316, 0.0001, 0.0005, 0.002]

# %% [markdown]
# Without the corrections Adam still trains, but its first steps are three to seven times too long. So the loss
# doesn't tell you. The first step of a single weight does.
#
# ### Adam and weight decay
#
# Weight decay adds wd w to the gradient. With Adam this has a strange effect. Take a weight w = 1 whose own gradient
# is 0, lr = 0.001 and wd = 0.0001. The gradient becomes 0.0001, tiny. But Adam divides by its size: the weight moves
# by the full lr, 0.001. The strength of the decay cancels out!
#
# *AdamW* (Loshchilov & Hutter 2019) keeps the decay out of m and v, and takes lr wd w away from w directly:
# 0.0000001.

# %%
for kind, expected in ((md.Adam, 1e-3), (md.AdamW, 1e-7)):
    w = md.Parameter(np.array([1.0]))
    kind({"w": w}, lr=0.001, weight_decay=1e-4).step()
    print(f"{kind.__name__:5} moves by {1 - w.value.item():.1e}")
    assert np.isclose(1 - w.value.item(), expected, rtol=1e-3)

# %% [markdown]
# ## Schedules: a learning rate for each step
#
# At the start the weights are random, and large steps are useful. At the end small steps settle the weights. A
# *schedule* is a function from the number of the step to the learning rate. `_anneal(start, end, t)` in the source
# below goes along half a cosine, from `start` at t = 0 to `end` at t = 1, and stays there. Two schedules are common:
#
# - **cosine**: half a cosine from lr down to 0.
# - **one-cycle**: up from lr / 25 to lr during the first 30 % of the steps, then down to nearly 0. Batch
#   normalization and Adam's averages get some steps to settle before the rate is high.

# %%
show(md.schedules.cosine, md.schedules.one_cycle)
cosine = md.schedules.cosine(0.1, total_steps=10)
cycle = md.schedules.one_cycle(0.1, total_steps=10)
print("cosine:   ", [round(cosine(step), 4) for step in range(11)])
print("one-cycle:", [round(cycle(step), 5) for step in range(10)])
assert np.isclose(cosine(0), 0.1) and np.isclose(cosine(5), 0.05) and np.isclose(cosine(10), 0)
assert np.isclose(cycle(0), 0.004) and np.isclose(cycle(2), 0.1) and np.isclose(cycle(9), 1e-5)

# %%
charts.schedules(
    {"cosine": md.schedules.cosine(0.01, 100), "one-cycle": md.schedules.one_cycle(0.01, 100)}, steps=100
)

# %% [markdown]
# In the one-cycle schedule, mind the details. Steps are counted from 0, so the last of T steps is step T - 1, and
# there the rate must have arrived at lr / 10,000. The first 30 % of ten steps are the steps 0, 1 and 2, so the peak
# is at step 2, which is 0.3 T - 1. To be off by one step is easy, and hard to see.
#
# ## The loop that trains
#
# Everything is together now. This is one step as the project does it. Compare it with the step at the end of chapter
# 2:

# %%
show(md.Trainer.train_step)

# %% [markdown]
# (`Context(...)` says TRAIN, and gives the seed and the step for the masks of dropout. `top_k_correct` counts the
# right answers, for the report.) The order matters. `zero_grad` must come before `backward`, because every layer
# *adds* to the gradients of its parameters. Without it, each step would move along the sum of all gradients since the
# start. And the optimizer comes last: if it came before `backward`, it would use the gradients of the batch before.
#
# Let us train. The data set `shapes` is drawn by the computer, so there is nothing to download. We take its first ten
# classes, and every second pixel of each image, so that it doesn't take long. The loader makes batches of 32 images
# in a random order, and brings each colour to mean 0 and standard deviation 1. One pass through all training images
# is called an *epoch*. Five are enough here:

# %%
data = md.load_shapes(train=1280, val=400)


def ten_classes(split):
    """Images (N, 32, 32, 3) and labels (N,) of the first ten classes."""
    chosen = np.flatnonzero(split.labels < 10)
    return split.images(chosen)[:, ::2, ::2], split.labels[chosen]


train, val = ten_classes(data.train), ten_classes(data.val)
mean, std = md.channel_statistics(train)
batches = md.Loader(train, 32, mean=mean, std=std)
val_batches = md.Loader(val, 50, mean=mean, std=std, shuffle=False)
print(len(train[0]), "training images,", len(batches), "batches of 32; classes:", ", ".join(data.words[:10]))
assert len(train[0]) == 640 and len(batches) == 20

# %%
show(md.models.convnet.build_convnet)
model = md.models.convnet.build_convnet(10, 0.0, np.random.default_rng(0), np.float32, widths=(8, 16, 32))
optimizer = md.Adam(model.named_parameters(), lr=0.02)
epochs = 5
schedule = md.schedules.one_cycle(0.02, epochs * len(batches))

losses = []
for epoch in range(epochs):
    for x, labels in batches.epoch(epoch):
        ctx = md.TRAIN.at_step(optimizer.steps)
        logits, cache = model.forward(x, ctx)
        loss, dlogits = md.softmax_cross_entropy(logits, labels)
        model.zero_grad()
        model.backward(dlogits, cache, need_dx=False)
        optimizer.step(schedule(optimizer.steps))
        losses.append(float(loss))
    print(f"epoch {epoch + 1}: loss {np.mean(losses[-len(batches) :]):.3f}")

result = md.evaluate(model, val_batches)
print(f"{result.top1:.0%} of {result.images} new images are right; guessing would give 10 %")
assert losses[0] > 1.5 and np.mean(losses[-20:]) < 1.2 and result.top1 > 0.5

# %%
charts.losses(losses, classes=10)

# %% [markdown]
# A network that knows nothing gives each of ten classes the probability 0.1, and its loss is -log 0.1 = 2.30. If your
# first loss is far above, look at the last layer's weights. If it is far below, the network may see the labels
# somewhere in its input.
#
# `md.Trainer` does the same with everything around it: evaluation after each epoch, checkpoints, resuming.
#
# ## What to remember
#
# - TRAIN, PROBE and INFER differ in batch normalization, dropout and the cache.
# - Dropout multiplies by a mask of 0 and 1 / (1 - p), both ways by the same one.
# - Momentum collects gradients, Adam divides by their size. Both work in place, and both can be checked with one
#   weight.
# - In Adam the strength of weight decay cancels out. In AdamW it doesn't.
# - zero_grad, backward, step: in this order.
#
# ## Exercises
#
# - `dropout_forward`: draw the mask and multiply by it; in use, return x itself.
# - `dropout_dx`: send dy back through the same mask, which may be missing.
# - `sgd`: one step of gradient descent, with momentum and Nesterov, in place.
# - `adam`: one step of Adam, in place.
# - `cosine`: the schedule that falls along half a cosine.
# - `one_cycle`: the schedule that rises and falls.
# - `train_step`: one step of training, from the batch to the new weights.
#
# In a terminal, in the folder that `minidl learn start my-exercises` has made:
#
# ```sh
# minidl learn check adam      # is it right? If not: what is wrong
# minidl learn hint adam       # a first hint; again for a second and a third
# ```
