"""The refined net, its training step and inference in JAX, compiled by XLA for the CPU.

Functions of flat dicts of arrays with minidl's names and shapes: N H W C and KH KW C F are XLA's layouts too.
"""

from __future__ import annotations

import os
from functools import partial

import jax
import jax.numpy as jnp
from jax import Array, lax

import models
from benchmarks.settings import DROPOUT, LEARNING_RATE, WEIGHT_DECAY, random_batches

Arrays = dict[str, Array]
EPS, MOMENTUM = 1e-5, 0.1  # of the batch normalization
BETA1, BETA2, ADAM_EPS = 0.9, 0.999, 1e-8


class Net:
    """One forward pass: reads parameters and running statistics, leaves the new statistics in `stats`."""

    def __init__(self, params: Arrays, stats: Arrays, train: bool) -> None:
        self.params, self.stats, self.train = params, dict(stats), train

    def conv_bn_relu(self, name: str, x: Array, padding: int = 0) -> Array:
        pads = [(padding, padding)] * 2
        weight = self.params[f"{name}.conv.weight"]
        x = lax.conv_general_dilated(x, weight, (1, 1), pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))
        mean, var = self.stats[f"{name}.bn.running_mean"], self.stats[f"{name}.bn.running_var"]
        if self.train:
            rows = x.size // x.shape[-1]
            batch_mean, batch_var = x.mean((0, 1, 2)), x.var((0, 1, 2))
            self.stats[f"{name}.bn.running_mean"] = (1 - MOMENTUM) * mean + MOMENTUM * batch_mean
            self.stats[f"{name}.bn.running_var"] = (1 - MOMENTUM) * var + MOMENTUM * batch_var * rows / (rows - 1)
            mean, var = batch_mean, batch_var
        gamma, beta = self.params[f"{name}.bn.gamma"], self.params[f"{name}.bn.beta"]
        return jax.nn.relu((x - mean) * (gamma * lax.rsqrt(var + EPS)) + beta)

    def inception(self, name: str, x: Array) -> Array:
        b1 = self.conv_bn_relu(f"{name}.b1", x)
        b3 = self.conv_bn_relu(f"{name}.b3", self.conv_bn_relu(f"{name}.b3_reduce", x), padding=1)
        b5 = self.conv_bn_relu(f"{name}.b5", self.conv_bn_relu(f"{name}.b5_reduce", x), padding=2)
        pool = self.conv_bn_relu(f"{name}.pool", window(lax.add, 0.0, x, 3, 1, padding=1) / 9)
        return jnp.concatenate([b1, b3, b5, pool], axis=-1)

    def __call__(self, x: Array, key: Array) -> Array:
        x = self.conv_bn_relu("stem", x)
        x = max_pool(x, 4, 2)
        x = self.inception("inception1", x)
        x = max_pool(x, 2, 2, padding=1)
        x = self.inception("inception2", x)
        x = self.inception("inception3", x)
        x = max_pool(x, 2, 2)
        x = self.inception("inception4", x)
        x = x.mean((1, 2))
        if self.train:
            x = jnp.where(jax.random.bernoulli(key, 1 - DROPOUT, x.shape), x / (1 - DROPOUT), 0)
        return x @ self.params["fc.weight"] + self.params["fc.bias"]


# As the pools of flax are written. On a CPU the backward pass of the 4x4 max pool is a good part of the step.
def window(join, start: float, x: Array, kernel: int, stride: int, padding: int = 0) -> Array:
    pads = [(0, 0), (padding, padding), (padding, padding), (0, 0)]
    return lax.reduce_window(x, start, join, (1, kernel, kernel, 1), (1, stride, stride, 1), pads)


max_pool = partial(window, lax.max, -jnp.inf)


@partial(jax.jit, donate_argnums=(0, 1, 2, 3))
def train_step(params: Arrays, stats: Arrays, m: Arrays, v: Arrays, t: int, x: Array, labels: Array, key: Array):
    """The state after step number t (from 1)."""

    def loss_of(params: Arrays) -> tuple[Array, Arrays]:
        net = Net(params, stats, train=True)
        logp = jax.nn.log_softmax(net(x, jax.random.fold_in(key, t)))
        return -jnp.take_along_axis(logp, labels[:, None], axis=1).mean(), net.stats

    grads, stats = jax.grad(loss_of, has_aux=True)(params)
    grads = {name: g + WEIGHT_DECAY * params[name] for name, g in grads.items()}
    m = {name: BETA1 * m[name] + (1 - BETA1) * g for name, g in grads.items()}
    v = {name: BETA2 * v[name] + (1 - BETA2) * g * g for name, g in grads.items()}
    rate, scale = LEARNING_RATE / (1 - BETA1**t), 1 / (1 - BETA2**t)
    params = {name: w - rate * m[name] / (jnp.sqrt(scale * v[name]) + ADAM_EPS) for name, w in params.items()}
    return params, stats, m, v


@jax.jit
def logits(params: Arrays, stats: Arrays, x: Array) -> Array:
    return Net(params, stats, train=False)(x, jax.random.key(0))


class Jitted:
    """A contender; XLA sizes its thread pool by the cores of the process and the variable NPROC (see worker.py)."""

    def __init__(self, batch_size: int, threads: int) -> None:
        self.threads = int(os.environ.get("NPROC", threads))
        model = models.build("refined")
        params = {name: jnp.array(p.value) for name, p in model.named_parameters().items()}
        stats = {name: jnp.array(a) for name, a in model.named_buffers().items()}
        moments = [{name: jnp.zeros_like(a) for name, a in params.items()} for _ in range(2)]
        self.state = params, stats, *moments
        self.key = jax.random.key(0)
        self.batches = [(jnp.array(x), jnp.array(labels)) for x, labels in random_batches("refined", batch_size)]

    def train(self, step: int) -> None:
        x, labels = self.batches[step % len(self.batches)]
        self.state = jax.block_until_ready(train_step(*self.state, step + 1, x, labels, self.key))

    def infer(self, step: int) -> None:
        params, stats, *_ = self.state
        jax.block_until_ready(logits(params, stats, self.batches[step % len(self.batches)][0]))
