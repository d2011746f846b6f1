"""Deconvnet projections in Captum, computed in its cheapest way; see `projections.py`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from captum.attr import NeuronDeconvolution
from torch import Tensor

from benchmarks.projections import Pairs
from benchmarks.torch_refined import refined
from minidl.storage.weights import to_torch_state_dict


def map_norms(units: np.ndarray) -> Callable[[Tensor], Tensor]:
    """A neuron selector: ||a||_2 of the map of unit units[n] on image n. Its gradient is minidl's default seed map.

    This is the cheapest way to ask Captum, because each image of a batch can have another unit. With a tuple as
    selector there is one neuron for all images, and a unit has only nine images.
    """
    rows = torch.arange(len(units))
    return lambda out: out[rows, units].reshape(len(units), -1).norm(dim=1)  # (N, H, W) or (N,) -> (N, H W)


class Captum:
    """A contender. Its network ends with the module that contains the layer: Captum would run the rest too."""

    def __init__(self, batch_size: int, threads: int, folder: str, channels_last: bool) -> None:
        warnings.simplefilter("ignore")  # Captum tells of its hooks at every call
        torch.set_num_threads(threads)
        self.threads, self.batch_size = torch.get_num_threads(), batch_size
        self.layout = torch.channels_last if channels_last else torch.contiguous_format
        pairs = Pairs.load(Path(folder))
        self.x = torch.from_numpy(pairs.x).permute(0, 3, 1, 2).contiguous(memory_format=self.layout)
        self.image, self.units = pairs.tops.ravel(), np.repeat(pairs.units, pairs.tops.shape[1])

        net = refined(classes=pairs.classes)
        weights = {name: torch.from_numpy(a) for name, a in to_torch_state_dict(pairs.model).items()}
        net.load_state_dict(weights, strict=False)  # minidl has no num_batches_tracked
        names = [name for name, _ in net.named_children()]
        net = net[: names.index(pairs.layer.partition(".")[0]) + 1]
        net = net.eval().requires_grad_(False).to(memory_format=self.layout)
        self.deconvolution = NeuronDeconvolution(net, net.get_submodule(pairs.layer))

    def project(self, step: int) -> Tensor:
        """(batch_size, C, H, W): the next pairs."""
        pairs = (step * self.batch_size + np.arange(self.batch_size)) % len(self.units)
        x = self.x[self.image[pairs]].contiguous(memory_format=self.layout).requires_grad_()
        return self.deconvolution.attribute(x, map_norms(self.units[pairs]))
