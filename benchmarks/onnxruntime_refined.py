"""Inference of the refined net in ONNX Runtime."""

from __future__ import annotations

import numpy as np
import onnxruntime

from benchmarks.onnx_refined import Exported


class Session:
    """A contender, for inference only."""

    def __init__(self, batch_size: int, threads: int) -> None:
        exported = Exported(batch_size, threads)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(exported.model, options, providers=["CPUExecutionProvider"])
        self.threads = self.session.get_session_options().intra_op_num_threads
        self.input = self.session.get_inputs()[0].name
        self.inputs = exported.inputs
        exported.check(self.run)

    def run(self, x: np.ndarray) -> np.ndarray:
        return self.session.run(None, {self.input: x})[0]

    def infer(self, step: int) -> None:
        self.run(self.inputs[step % len(self.inputs)])
