"""The contenders in the speed comparisons.

A contender is a class made from (batch_size, threads, **options). It has a method `train(step)` for one training step
and `infer(step)` for one forward pass; in the comparison of single layers it has an attribute with a method for each.
Its attribute `threads` is the number of threads that its framework reports. In the comparison of projections its
third argument is a folder with what to project, and its method is `project(step)`. A contender is named by its
module, so that only its own process imports it. Its name ends in `_bf16` if it computes in bfloat16; all others
compute in float32.
"""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec
from typing import Any, NamedTuple

from minidl.errors import UsageError


class Contender(NamedTuple):
    module: str
    cls: str
    options: dict[str, Any]
    needs: tuple[str, ...]  # the packages without which it can't take part
    trains: bool = True  # False: inference only
    optional: bool = False  # True: the comparison goes on without it
    quick: bool = False  # True: part of --quick
    compiles: bool = False  # True: it takes a minute to get ready, for each batch size


def _networks(network: str, compiled: bool = True) -> dict[str, Contender]:
    """The contenders that have all networks: minidl and torch."""
    minidl, torch = ("benchmarks.minidl_step", "MiniDL"), "benchmarks.torch_step"
    options = {"network": network}
    eager = options | {"channels_last": True}
    contenders = {
        "minidl": Contender(*minidl, options | {"fused": True}, ("numpy",), quick=True),
        "minidl_plain": Contender(*minidl, options | {"fused": False}, ("numpy",)),
        "torch_nchw": Contender(torch, "Eager", options | {"channels_last": False}, ("torch",)),
        "torch_channels_last": Contender(torch, "Eager", eager, ("torch",), quick=True),
        "torch_compile": Contender(torch, "Compiled", options, ("torch",), optional=True, compiles=True),
        "torch_bf16": Contender(torch, "Eager", eager | {"bf16": True}, ("torch",)),
    }
    return {name: contender for name, contender in contenders.items() if compiled or not contender.compiles}


def _reader(package: str) -> Contender:
    """An inference engine that reads the refined net as an ONNX model."""
    needs = ("torch", "onnx", "onnxscript", package)
    return Contender(f"benchmarks.{package}_refined", "Session", {}, needs, trains=False, optional=True, quick=True)


_LAYERS = "benchmarks.minidl_layers", "MiniDLLayers"
_PROJECTIONS, _CAPTUM = ("benchmarks.minidl_projections", "MiniDL"), ("benchmarks.captum_projections", "Captum")
CONTENDERS = {
    "refined": {
        **_networks("refined"),
        "jax": Contender("benchmarks.jax_refined", "Jitted", {}, ("jax",), optional=True, compiles=True),
        "onnxruntime": _reader("onnxruntime"),
        "openvino": _reader("openvino"),
    },
    "vgg": _networks("vgg"),
    "resnet18": _networks("resnet18", compiled=False),  # that takes many minutes
    "layers": {
        "minidl": Contender(*_LAYERS, {"fused": True}, ("numpy",)),
        "minidl_plain": Contender(*_LAYERS, {"fused": False}, ("numpy",)),
        "torch_channels_last": Contender("benchmarks.torch_layers", "TorchLayers", {}, ("torch",)),
    },
    "projections": {
        "minidl": Contender(*_PROJECTIONS, {}, ("numpy",)),
        "minidl_own_images": Contender(*_PROJECTIONS, {"own_images": True}, ("numpy",)),
        "minidl_plain": Contender(*_PROJECTIONS, {"engine": "plain"}, ("numpy",)),
        "captum_nchw": Contender(*_CAPTUM, {"channels_last": False}, ("torch", "captum")),
        "captum_channels_last": Contender(*_CAPTUM, {"channels_last": True}, ("torch", "captum")),
    },
}


def make(comparison: str, name: str, batch_size: int, threads: int, *extra: str) -> Any:
    """The contender itself, with its framework; for its own process only."""
    contender = CONTENDERS[comparison][name]
    return getattr(import_module(contender.module), contender.cls)(batch_size, threads, *extra, **contender.options)


def choose(comparison: str, only: list[str] | None = None, quick: bool = False) -> list[str]:
    """The names of the contenders: `only` these, or all. For each one that is left out, one line says why.

    Raises UsageError for a name that doesn't exist, and if a necessary contender isn't installed.
    """
    known = CONTENDERS[comparison]
    for name in only or []:
        if name not in known:
            raise UsageError(f"unknown contender {name!r} for {comparison}: choose {', '.join(known)}")
    names, slow = [], []
    for name, contender in known.items():
        if only and name not in only:
            continue
        missing = ", ".join(package for package in contender.needs if find_spec(package) is None)
        if missing and not contender.optional:
            raise UsageError(f"not installed: {missing}; pip install -e '.[benchmarks]' brings it")
        if missing:
            print(f"{name} is left out: not installed: {missing}", file=sys.stderr)
        elif quick and not (contender.quick or only):
            slow.append(name)
        else:
            names.append(name)
    if slow:
        print(f"left out of --quick: {', '.join(slow)} (--only NAME ... has these)", file=sys.stderr)
    if not names:
        raise UsageError("none of the chosen contenders is installed")
    return names
