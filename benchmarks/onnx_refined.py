"""The refined net as an ONNX model, exported from PyTorch, for the inference engines that read it."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable

import numpy as np
import torch

from benchmarks.settings import random_batches
from benchmarks.torch_refined import refined

TOLERANCE = 1e-3  # of the largest difference from torch's logits


class Exported:
    """The model as bytes, the inputs (N, 3, 64, 64) to measure with, and a check of a contender's answers."""

    def __init__(self, batch_size: int, threads: int) -> None:
        torch.set_num_threads(threads)
        torch.manual_seed(0)
        self.inputs = [
            np.ascontiguousarray(x.transpose(0, 3, 1, 2)) for x, _ in random_batches("refined", batch_size)
        ]
        self._net = refined()
        x = torch.from_numpy(self.inputs[0])
        with torch.no_grad():
            self._net(x[:4])  # so that the running statistics are no longer their initial values
        self._net.eval()
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(self._net, (x,), dynamo=True, verbose=False)
        self.model: bytes = program.model_proto.SerializeToString()

    def check(self, run: Callable[[np.ndarray], np.ndarray]) -> None:
        """Raises AssertionError if `run` gives other logits than torch."""
        with torch.inference_mode():
            expected = self._net(torch.from_numpy(self.inputs[1])).numpy()
        error = abs(run(self.inputs[1]) - expected).max()
        assert error <= TOLERANCE, f"the logits differ from torch's by {error:.1e}"
