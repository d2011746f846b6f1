"""minidl: a deep-learning framework in NumPy and CuPy whose every backward pass can be read."""

from pathlib import Path

from minidl.diagnostics.gradcheck import gradcheck
from minidl.diagnostics.summary import summary
from minidl.diagnostics.trace import trace
from minidl.layers import INFER, PROBE, TRAIN, Context, Layer, Mode, Parameter, Rule
from minidl.version import __version__

_INSIDE = Path(__file__).parent / "models" / "inception.py"
_BESIDE = Path(__file__).parents[1] / "models" / "inception.py"
if not _INSIDE.is_file() and _BESIDE.is_file():  # a checkout: minidl.models is the folder models/ beside minidl/
    __path__.append(str(_BESIDE.parents[1]))

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
