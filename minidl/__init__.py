"""minidl: a deep-learning framework in NumPy and CuPy whose every backward pass can be read."""

__version__ = "0.1.0"

from minidl.gradcheck import gradcheck
from minidl.layers import INFER, PROBE, TRAIN, Context, Layer, Mode, Parameter, Rule
from minidl.summary import summary
from minidl.trace import trace

__all__ = [
    "INFER",
    "PROBE",
    "TRAIN",
    "Context",
    "Layer",
    "Mode",
    "Parameter",
    "Rule",
    "gradcheck",
    "summary",
    "trace",
]
