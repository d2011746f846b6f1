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
# # 2. Softmax, the loss, and one training step
#
# **You need:** [chapter 1](01_linear.py) (what `dy` is, the linear layer, ReLU), and the derivatives of exp and
# log.
#
# **Afterwards you can** turn a network's scores into probabilities, compute the cross-entropy loss and its gradient
# by hand, say why the code subtracts a maximum, and write a whole training step.
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
# ## From scores to probabilities
#
# A network that tells K classes apart ends with K numbers for each image, one for each class. The larger the
# number, the more the network believes in this class. These numbers are called **logits**, or scores, and written
# z. They can be any numbers, also negative ones.
#
# A loss needs probabilities: none negative, and all together 1. The softmax makes them. It takes the exponential of
# every logit, which is positive, and divides by the sum:
#
#     p[j] = exp(z[j]) / sum over i of exp(z[i])
#
# Take two classes with z = [0, log 3]. (log is the natural logarithm, as in NumPy, so exp(log 3) = 3.) The
# exponentials are 1 and 3, their sum is 4, so p = [1/4, 3/4].

# %%
z = np.array([0.0, np.log(3)])
p = np.exp(z) / np.exp(z).sum()
print(p)
assert np.allclose(p, [0.25, 0.75])

# %% [markdown]
# What if we add the same number m to all logits? Every exponential is multiplied by exp(m), and so is the sum. The
# factor cancels. Only the differences between the logits count.
#
# This helps with a problem of the computer: exp(1000) is larger than any number it can store. It becomes `inf`, and
# `inf / inf` is `nan`, "not a number". So the code first subtracts the largest logit. Then the largest exponent is
# 0, no exponential is above 1, and the result is the same.

# %%
large = np.array([1000.0, 1000.0 + np.log(3)])
with np.errstate(over="ignore", invalid="ignore"):
    naive = np.exp(large) / np.exp(large).sum()
print("without subtracting:", naive, "  subtracting the maximum:", md.softmax(large))
assert np.isnan(naive).all()
assert np.allclose(md.softmax(large), [0.25, 0.75])

# %%
show(md.softmax)

# %% [markdown]
# `axis=-1` is the last axis: with logits of shape (N, K) each row, one image, gets its own maximum and its own sum.
# `keepdims=True` keeps the sum as a column (N, 1), so that NumPy divides each row by its own number. Without it the
# sums (N,) would be laid along the wrong axis. If N = K this raises no error, and the result is wrong.

# %%
two = np.array([[0.0, 0.0], [0.0, np.log(3)]])  # two images, two classes
e = np.exp(two)
right, wrong = e / e.sum(axis=-1, keepdims=True), e / e.sum(axis=-1)
print(f"right\n{right}\nwithout keepdims\n{wrong}")
assert np.allclose(right, [[0.5, 0.5], [0.25, 0.75]])
assert np.allclose(wrong, [[0.5, 0.25], [0.5, 0.75]])

# %% [markdown]
# ## The loss
#
# Every training image comes with a *label*, the number of its true class. By custom it is called y, too. (In this
# chapter y is always the label, and not the output of a layer.) The network is good if it gives this class a high
# probability p[y]. The **cross-entropy** loss of one image is
#
#     loss = -log p[y]
#
# It is 0 if the network is sure and right (p[y] = 1), and grows without limit as p[y] goes to 0. Being sure and
# wrong is expensive. The loss of a batch is the mean over its N images.

# %%
for probability in (1.0, 0.5, 0.1, 0.001):
    print(f"p[y] = {probability:5}   loss {np.log(1 / probability):.3f}")
assert np.allclose(np.log([2, 10, 200]), [0.693, 2.303, 5.298], atol=5e-4)
assert np.isclose(-np.log(0.5), 0.693, atol=5e-4) and np.isclose(-np.log(0.001), 6.908, atol=5e-4)

# %% [markdown]
# This gives the first number to look at in any training. A network that knows nothing yet gives every class the
# probability 1/K, so its loss is log K: 0.693 for 2 classes, 2.303 for 10, 5.298 for the 200 classes of Tiny
# ImageNet. If the loss starts far above, the first weights are too large, or there is a mistake.
#
# ## Its gradient
#
# The logits z are the output of the last linear layer. So dz = dL/dz is the `dy` that this layer needs: the
# backward pass begins here. (In the code z is called `logits`, and dz `dlogits`.) For one image, put the softmax
# into the loss:
#
#     L = -log p[y] = -log( exp(z[y]) / sum over i of exp(z[i]) )
#                   = -z[y] + log( sum over i of exp(z[i]) )
#
# Where is a logit z[j] used?
#
# - In the second term, always. Call the sum t. The derivative of log t is 1/t, and the derivative of t with respect
#   to z[j] is exp(z[j]). Together that is exp(z[j]) / t, which is p[j].
# - In the first term only if j is the label. There the derivative is -1.
#
# So dz[j] = p[j] for the wrong classes and p[y] - 1 for the label. Let [j = y] be 1 for the label and 0 elsewhere.
# A row of such numbers is called *one-hot*. With the mean over N images, which puts 1/N in front of everything:
#
#     dz[j] = (p[j] - [j = y]) / N
#
# Two images with z = [0, 0], both with the label 0. Then p = [0.5, 0.5], and in each row
#
#     dz = ([0.5, 0.5] - [1, 0]) / 2 = [-0.25, 0.25]

# %%
z = np.zeros((2, 2))
labels = np.array([0, 0])
p = md.softmax(z)
one_hot = np.eye(2)[labels]  # row y of the identity matrix is 1 at y
dz = (p - one_hot) / len(z)
print(dz)
assert np.allclose(dz, [[-0.25, 0.25], [-0.25, 0.25]])

loss, dlogits = md.softmax_cross_entropy(z, labels)
print(f"minidl: loss {loss:.3f}, gradient {dlogits.tolist()}")
assert np.isclose(loss, np.log(2)) and np.allclose(dlogits, dz)

# %% [markdown]
# Read the signs. At the label dz is negative: if this logit grows, the loss falls. At the other class it is
# positive. Training will move each weight *against* its gradient, so the label's logit will grow and the other
# will fall. And dz becomes 0 when p reaches the one-hot row: a network that is sure and right is left alone.
#
# Each row of dz adds up to 0. This must be so. If all logits of a row grow by the same small amount, L changes by
# the sum of the row of dz times this amount. And we saw that adding a number to all logits changes nothing.

# %%
z3 = np.array([[0.0, np.log(2), np.log(5)]])  # p = [1/8, 2/8, 5/8]
p3 = md.softmax(z3)[0]
_, dz3 = md.softmax_cross_entropy(z3, np.array([1]))
assert np.allclose(p3, [0.125, 0.25, 0.625]) and np.allclose(dz3[0], [0.125, -0.75, 0.625])

figure, axes = drawing.canvas(15, 5.4, "One image, three classes, label 1:  dz = p − one-hot")
drawing.grid(axes, p3, 0.6, 2.3, label="p", colour=drawing.BLUE, cell_width=1.3)
drawing.note(axes, "−", (5.1, 2.8), size=16)
drawing.grid(axes, ["0", "1", "0"], 5.7, 2.3, label="one-hot", colour=[None, drawing.BLUE, None], cell_width=1.2)
drawing.note(axes, "=", (9.9, 2.8), size=16)
shades = [drawing.YELLOW, drawing.ORANGE, drawing.YELLOW]
drawing.grid(axes, dz3[0], 10.5, 2.3, label="dz", colour=shades, cell_width=1.3)
drawing.note(axes, "negative: raise this logit", (12.45, 4.0), colour=drawing.ORANGE)
drawing.note(axes, "positive: lower these, the more the larger p", (10.6, 4.7))
drawing.finish(figure, "02-dz")

# %% [markdown]
# ## What goes wrong most often
#
# The right answer for the two images above is [-0.25, 0.25] in each row.

# %%
wrong = {
    "the sign is turned round": (one_hot - p) / 2,
    "the one-hot row is missing": p / 2,
    "the mean over the images is missing: N times too large": p - one_hot,
    "a mean over classes, too: K times too small": (p - one_hot) / (2 * 2),
    "this is dL/dp, not dL/dz": -one_hot / p / 2,
}
for mistake, value in wrong.items():
    print(f"{str(value[0].tolist()):18} {mistake}")
first_rows = [value[0].tolist() for value in wrong.values()]
assert np.allclose(first_rows, [[0.25, -0.25], [0.25, 0.25], [-0.5, 0.5], [-0.125, 0.125], [-1, 0]])

# %% [markdown]
# The last one deserves a look. -1/p[y] is the derivative of -log p[y] with respect to p[y]. It is right, but it is
# not what the linear layer needs. It still has to go back through the softmax, where every p depends on every z.
#
# ## The real code
#
# minidl computes loss and gradient in one function, as both need the same exponentials. The argument `smoothing` is
# the subject of the next section; here it is 0.

# %%
show(reference.softmax_cross_entropy)

# %% [markdown]
# The code never takes the log of a probability. It uses
#
#     log p[j] = (z[j] - m) - log( sum over i of exp(z[i] - m) )         m: the largest logit
#
# The reason is again the computer. With z = [0, 1000] and the label 0, p[0] = exp(-1000) is so small that it is
# stored as 0, and log 0 is -inf. The formula above subtracts the numbers themselves and gives the right loss, 1000.

# %%
far = np.array([[0.0, 1000.0]])
with np.errstate(divide="ignore"):
    print("minus the log of the softmax:", -np.log(md.softmax(far)[0, 0]))
loss, _ = md.softmax_cross_entropy(far, np.array([0]))
print("minidl:", loss)
assert loss == 1000

# %% [markdown]
# ## Label smoothing
#
# The loss -log p[y] is never quite satisfied. p[y] reaches 1 only if the label's logit is infinitely far above the
# others, so the training pushes the logits apart for ever. Label smoothing asks for less. Instead of the one-hot
# row the target is
#
#     q[j] = (1 - s) [j = y] + s / K
#
# A share s of the probability is spread evenly over all K classes (the label's class included). The loss becomes
# -(sum over j of q[j] log p[j]), averaged over the images. For each j, the term -log p[j] has the gradient that we
# know, p minus the one-hot row of j. Their mix with the shares q, which add up to 1, is p minus q:
#
#     dz[j] = (p[j] - q[j]) / N
#
# With K = 2 and s = 0.2 the target is q = [0.9, 0.1]. For our two images dz = ([0.5, 0.5] - [0.9, 0.1]) / 2, which
# is [-0.2, 0.2]. And the push ends at p = q: there the logits differ by log(0.9 / 0.1) = 2.197, and not by
# infinity.

# %%
_, dlogits = md.softmax_cross_entropy(z, labels, label_smoothing=0.2)
print("at z = [0, 0]:    ", dlogits[0])
assert np.allclose(dlogits, [[-0.2, 0.2]] * 2)

satisfied = np.array([[np.log(9), 0.0]])
_, dlogits = md.softmax_cross_entropy(satisfied, np.array([0]), label_smoothing=0.2)
assert np.isclose(np.log(9), 2.197, atol=5e-4)
print("at z = [log 9, 0]:", abs(dlogits[0]).round(12))
assert np.allclose(dlogits, 0)

# %% [markdown]
# A common mistake is to give s to the *wrong* classes only, s / (K - 1) to each, and 1 - s to the label. Here that
# would be q = [0.8, 0.2] and dz = [-0.15, 0.15]. The definition above is the one of the paper (Szegedy et al. 2016)
# and of PyTorch.

# %%
assert np.allclose((md.softmax(z) - [0.8, 0.2]) / 2, [[-0.15, 0.15]] * 2)

# %% [markdown]
# ## One training step
#
# Now we have both ends: layers that go forward and backward, and a loss that begins the backward pass. Take four
# points in the plane. The label is 1 if the first coordinate is positive. One linear layer should learn this. It
# starts with zeros, so that we can follow the numbers.

# %%
x = np.array([[1.0, 0.0], [2.0, 1.0], [-1.0, 0.0], [-2.0, 1.0]])
labels = np.array([1, 1, 0, 0])
layer = md.Linear(2, 2, dtype=np.float64)
weight = layer.params["weight"]
weight.value[...] = 0

logits, cache = layer.forward(x, md.TRAIN)  # 1. forward: all logits are 0
loss, dlogits = md.softmax_cross_entropy(logits, labels)  # 2. the loss and its gradient
layer.zero_grad()  # 3. backward adds to the gradients, so they start at zero
layer.backward(dlogits, cache)  # 4. backward: fills every grad
for parameter in layer.named_parameters().values():  # 5. the optimizer: a step against the gradient
    parameter.value[...] -= 1.0 * parameter.grad  # 1.0 is the learning rate: how long the step is

print(f"loss {loss:.3f}\ndlogits\n{dlogits}\ndw\n{weight.grad}\nnew w\n{weight.value}")
assert np.isclose(loss, np.log(2))
assert np.allclose(dlogits, [[0.125, -0.125], [0.125, -0.125], [-0.125, 0.125], [-0.125, 0.125]])
assert np.allclose(weight.grad, [[0.75, -0.75], [0, 0]])

# %% [markdown]
# On paper: all p are 0.5 and N = 4, so every dz is 0.5 / 4 = 0.125 with a sign. Then
#
#     dw[0,0] = 1 * 0.125 + 2 * 0.125 + (-1) * (-0.125) + (-2) * (-0.125) = 0.75
#     dw[1,0] = 0 * 0.125 + 1 * 0.125 +    0 * (-0.125) +    1 * (-0.125) = 0
#
# The second coordinate says nothing about the label, and its weights stay at 0.
#
# The new weights give the first point the logits [-0.75, 0.75]. The label's logit is ahead by 1.5, so this point's
# loss is log(1 + exp(-1.5)) = 0.201. For the second point it is log(1 + exp(-3)) = 0.049. The mean over all four is
# 0.125.

# %%
loss, _ = md.softmax_cross_entropy(layer(x), labels)
print(f"loss after one step: {loss:.3f}")
assert np.allclose(np.log(1 + np.exp([-1.5, -3.0])), [0.201, 0.049], atol=5e-4)
assert np.isclose(loss, 0.125, atol=5e-4)

# %% [markdown]
# The same five lines train every network in minidl. Here is a network with two layers and a problem that no single
# linear layer can solve: the label is 1 if both coordinates have the same sign.

# %%
x = np.array([[1.0, 1.0], [-1.0, -1.0], [1.0, -1.0], [-1.0, 1.0]])
labels = np.array([1, 1, 0, 0])
model = md.Sequential(
    {
        "linear1": md.Linear(2, 8, rng=0, dtype=np.float64),
        "relu": md.ReLU(),
        "linear2": md.Linear(8, 2, rng=1, dtype=np.float64),
    }
)
for step in range(101):
    logits, cache = model.forward(x, md.TRAIN)
    loss, dlogits = md.softmax_cross_entropy(logits, labels)
    model.zero_grad()
    model.backward(dlogits, cache)
    for parameter in model.named_parameters().values():
        parameter.value[...] -= 0.5 * parameter.grad
    if step % 25 == 0:
        print(f"step {step:3}   loss {loss:.3f}   answers {logits.argmax(axis=1)}")
assert loss < 0.05 and np.array_equal(logits.argmax(axis=1), labels)

# %% [markdown]
# This is what happens in each step, with the shapes on the arrows. Forward, each layer drops its cache; backward,
# it picks it up again. The gradients of the weights fall out below, and the optimizer changes the weights.

# %%
shapes = {name: f"{p.value.shape}" for name, p in model.named_parameters().items()}
assert shapes["linear1.weight"] == "(2, 8)" and shapes["linear2.weight"] == "(8, 2)"

figures.training_step()

# %% [markdown]
# ## Exercises
#
# - `softmax`: write the softmax along the last axis, so that large logits don't overflow.
# - `softmax_cross_entropy`: write the mean loss and the gradient dz, without smoothing.
# - `label_smoothing`: write the same function for any smoothing.
#
# In a terminal, in the folder that `minidl learn start my-exercises` has made:
#
# ```sh
# minidl learn check softmax      # is it right? If not: what is wrong
# minidl learn hint softmax       # a first hint; again for a second and a third
# ```
