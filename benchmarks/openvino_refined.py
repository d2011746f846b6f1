"""Inference of the refined net in OpenVINO."""

from __future__ import annotations

import numpy as np
import openvino

from benchmarks.onnx_refined import Exported


class Session:
    """A contender, for inference only."""

    def __init__(self, batch_size: int, threads: int) -> None:
        exported = Exported(batch_size, threads)
        core = openvino.Core()
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,  # one batch at a time, on all threads
            "INFERENCE_PRECISION_HINT": "f32",  # where a processor has bfloat16, OpenVINO would compute in that
        }
        self.model = core.compile_model(core.read_model(exported.model), "CPU", settings)
        self.threads = self.model.get_property("INFERENCE_NUM_THREADS")
        self.inputs = exported.inputs
        exported.check(self.run)

    def run(self, x: np.ndarray) -> np.ndarray:
        return self.model(x)[0]

    def infer(self, step: int) -> None:
        self.run(self.inputs[step % len(self.inputs)])
