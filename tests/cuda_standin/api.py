"""What CuPy has, from cupy_api.json, and how a call is held against it."""

from __future__ import annotations

import inspect
import json
from functools import cache

from tests.cuda_standin.dump_api import FILE
from tests.cuda_standin.record import RECORD

API: dict = json.loads(FILE.read_text(encoding="utf-8"))


@cache
def signature(text: str) -> inspect.Signature:
    """The signature that `dump_api` wrote."""
    scope: dict = {}
    exec(f"def f{text}: ...", scope)
    return inspect.signature(scope["f"])


def check(owner: str, name: str, args: tuple, kwargs: dict) -> None:
    """Refuses arguments that CuPy's function has not."""
    try:
        _fits(owner, name, len(args), tuple(kwargs))
    except TypeError as error:
        RECORD.refuse(TypeError, f"{name}() {error}")


@cache
def _fits(owner: str, name: str, count: int, keywords: tuple[str, ...]) -> None:
    signature(API[owner][name]).bind(*range(count), **dict.fromkeys(keywords))


def kind(owner: str, name: str) -> str:
    """What the dump says of a name; refuses one that CuPy has not."""
    if name.startswith("_") or name not in API[owner]:
        if name.startswith("__"):  # asked for by Python itself, for copying and the like
            raise AttributeError(name)
        RECORD.refuse(AttributeError, f"{owner!r} has no attribute {name!r}")
    return API[owner][name]
