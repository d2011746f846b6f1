"""minidl: a deep-learning framework in NumPy and CuPy whose every backward pass can be read."""

from minidl.diagnostics.gradcheck import gradcheck
from minidl.diagnostics.summary import summary
from minidl.diagnostics.trace import trace
from minidl.layers import INFER, PROBE, TRAIN, Context, Layer, Mode, Parameter, Rule
from minidl.version import __version__

__all__ = [
    "INFER",
    "PROBE",
    "TRAIN",
    "Context",
    "Layer",
    "Mode",
    "Parameter",
    "Rule",
    "__version__",
    "gradcheck",
    "summary",
    "trace",
]
