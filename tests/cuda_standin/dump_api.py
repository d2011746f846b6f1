"""Writes cupy_api.json, the names and signatures of the installed CuPy: `python -m tests.cuda_standin.dump_api`.

No device is needed, but NCCL is (`nvidia-nccl-cu13`). A name maps to "type", "module", "value", "property", "ufunc",
"numpy" (an object of NumPy's), or a signature whose defaults are all written `...`; "(*args, **kwargs)" where none is
known.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

FILE = Path(__file__).with_name("cupy_api.json")
MODULES = ("cupy", "cupy.linalg", "cupy.lib.stride_tricks", "cupy.cuda", "cupy.cuda.nccl", "cupyx")
ANY = "(*args, **kwargs)"


def dump(cupy: ModuleType) -> dict[str, Any]:
    """The names of CuPy's modules and of its array, {module: {name: kind}}, and CuPy's version."""
    api: dict[str, Any] = {"version": cupy.__version__}
    for path in MODULES:
        api[path] = _names(importlib.import_module(path), cupy)
    api["cupy.ndarray"] = _names(cupy.ndarray, cupy)
    api["cupy.ufunc"] = _names(cupy.ufunc, cupy)
    api["cupy.cuda.nccl.NcclCommunicator"] = _names(cupy.cuda.nccl.NcclCommunicator, cupy)
    return api


def _names(owner: Any, cupy: ModuleType) -> dict[str, str]:
    names = [name for name in dir(owner) if not name.startswith("_")]
    if owner is cupy.cuda:  # its libraries are loaded when they are named, and are not there on every machine
        return dict.fromkeys((name for name in names if name != "nccl"), "value")
    return {name: _kind(getattr(owner, name), cupy) for name in names}


def _kind(thing: Any, cupy: ModuleType) -> str:
    if isinstance(thing, cupy.ufunc):
        return "ufunc"
    if (getattr(thing, "__module__", None) or "").partition(".")[0] == "numpy":
        return "numpy"  # the very same object: float32, dtype, result_type ...
    if isinstance(thing, type | ModuleType):
        return "type" if isinstance(thing, type) else "module"
    if not callable(thing):
        return "property" if inspect.isdatadescriptor(thing) else "value"
    try:
        return _text(inspect.signature(thing))
    except (ValueError, TypeError):
        return _from_docstring(thing.__doc__ or "")


def _text(signature: inspect.Signature) -> str:
    empty = inspect.Parameter.empty
    plain = [
        p.replace(annotation=empty, default=empty if p.default is empty else ...)
        for p in signature.parameters.values()
    ]
    return str(inspect.Signature(plain)).replace("Ellipsis", "...")


def _from_docstring(text: str) -> str:
    """Of Cython's "_ndarray_base.sort(self, int axis=-1, kind=None) -> ..."."""
    if not (found := re.match(r"[\w.]+\((.*)\)(?: ->.*)?$", text.partition("\n")[0])):
        return ANY
    parts = [part.partition("=") for part in found[1].split(", ") if part]
    return "({})".format(", ".join(name.split()[-1] + (equals and "=...") for name, equals, _ in parts))


if __name__ == "__main__":
    import cupy

    FILE.write_text(json.dumps(dump(cupy), indent=0, sort_keys=True) + "\n", encoding="utf-8")
