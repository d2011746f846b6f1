"""Loads matplotlib whatever the user's settings of it are."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from minidl.errors import DataError

_LOG = logging.getLogger("matplotlib")


@contextmanager
def quiet() -> Iterator[None]:
    """Without matplotlib's remarks on settings, caches and fonts."""
    level = _LOG.level
    _LOG.setLevel(logging.ERROR)
    try:
        yield
    finally:
        _LOG.setLevel(level)


@contextmanager
def loading() -> Iterator[None]:
    """matplotlib is to be imported inside, for the first time.

    It reads the user's settings then and fails on some, such as a notebook's MPLBACKEND outside the notebook or a
    matplotlibrc that is no text. So they are hidden from it, and handed over afterwards as far as they are valid:
    the user's own figures in the same process follow them, ours never do (`canvas.save_figure`).
    Raises DataError if it can't be loaded.
    """
    if "matplotlib" in sys.modules:
        yield
        return
    hidden = {name: os.environ.pop(name, None) for name in ("MPLBACKEND", "MATPLOTLIBRC")}
    os.environ["MATPLOTLIBRC"] = os.devnull
    here = os.getcwd() if os.path.exists("matplotlibrc") else None  # it looks there first of all
    try:
        if here is not None:
            os.chdir(os.sep)
        with quiet():
            yield
    except Exception as error:
        raise DataError(f"pictures can't be drawn, as matplotlib doesn't load: {error}") from error
    finally:
        if here is not None:
            os.chdir(here)
        del os.environ["MATPLOTLIBRC"]
        os.environ.update({name: value for name, value in hidden.items() if value is not None})
    _hand_over_settings()


def _hand_over_settings() -> None:
    import matplotlib

    with quiet(), suppress(Exception):  # whatever is wrong with them is for the user's own figures to say
        matplotlib.rcParams.update(matplotlib.rc_params())
    with suppress(ValueError):
        if backend := os.environ.get("MPLBACKEND"):
            matplotlib.rcParams["backend"] = backend
