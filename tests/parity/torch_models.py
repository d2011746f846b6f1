"""Torch modules that hold the same weights as minidl's layers, and moves between the two layouts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from minidl.layers import Context, Layer
from minidl.layers.convert import convert
from minidl.storage.weights import to_torch_state_dict


def to_torch(x: np.ndarray) -> torch.Tensor:
    """(N, H, W, C) -> (N, C, H, W), (N, C) as it is: a copy."""
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1)).copy())


def to_numpy(t: torch.Tensor) -> np.ndarray:
    """(N, C, H, W) -> (N, H, W, C), (N, C) as it is."""
    return np.moveaxis(t.detach().numpy(), 1, -1)


def twin(layer: Layer, module: nn.Module) -> nn.Module:
    """`module` in float64 with the weights and running statistics of `layer`."""
    module.double()
    names = module.load_state_dict(
        {k: torch.from_numpy(a) for k, a in to_torch_state_dict(layer).items()}, strict=False
    )
    assert not names.unexpected_keys and all(k.endswith("num_batches_tracked") for k in names.missing_keys)
    return module


class Pass(NamedTuple):
    """Output, input gradient, parameter gradients and buffers after one forward and backward pass."""

    y: np.ndarray
    dx: np.ndarray
    grads: dict[str, np.ndarray]  # under torch's names and in torch's layout, as `buffers`
    buffers: dict[str, np.ndarray]


def minidl_pass(layer: Layer, x: np.ndarray, dy: np.ndarray, ctx: Context) -> Pass:
    layer.zero_grad()
    y, cache = layer.forward(x, ctx)
    dx = layer.backward(dy, cache)
    gradients = convert(layer)  # whose values are the gradients, for the export to rename and transpose
    for name, p in gradients.named_parameters().items():
        p.value[...] = layer.named_parameters()[name].grad
    exported = to_torch_state_dict(gradients)
    buffers = {name: exported.pop(name) for name in layer.named_buffers()}
    return Pass(y, dx, exported, buffers)


def torch_pass(module: nn.Module, x: np.ndarray, dy: np.ndarray, training: bool) -> Pass:
    module.train(training)
    module.zero_grad()
    tx = to_torch(x).requires_grad_()
    y = module(tx)
    y.backward(to_torch(dy))
    grads = {name: p.grad.numpy() for name, p in module.named_parameters()}
    buffers = {name: b.numpy() for name, b in module.named_buffers() if not name.endswith("num_batches_tracked")}
    return Pass(to_numpy(y), to_numpy(tx.grad), grads, buffers)


def error(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference, relative to the largest entry (or to 1 if that is smaller)."""
    assert a.shape == b.shape and a.dtype == b.dtype == np.float64
    return float(np.abs(a - b).max(initial=0) / max(1, np.abs(b).max(initial=0)))


def worst_error(ours: Pass, theirs: Pass) -> float:
    """Over everything in a pass."""
    assert ours.grads.keys() == theirs.grads.keys() and ours.buffers.keys() == theirs.buffers.keys()
    pairs = [(ours.y, theirs.y), (ours.dx, theirs.dx)]
    pairs += [(ours.grads[n], theirs.grads[n]) for n in ours.grads]
    pairs += [(ours.buffers[n], theirs.buffers[n]) for n in ours.buffers]
    return max(error(a, b) for a, b in pairs)
