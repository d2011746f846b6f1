"""Loads matplotlib so that no setting of the user can make it fail."""

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
    """Silences matplotlib's remarks on settings, caches and fonts."""
    level = _LOG.level
    _LOG.setLevel(logging.ERROR)
    try:
        yield
    finally:
        _LOG.setLevel(level)


@contextmanager
def loading() -> Iterator[None]:
    """Inside this block, matplotlib is imported for the first time.

    While it is imported it reads the user's settings, and some make it fail: a notebook's MPLBACKEND outside the
    notebook, or a matplotlibrc that is not a text. So they are hidden from it, and given to it afterwards if they are
    valid. The user's own figures in the same process follow them; ours never do (`canvas.save_figure`). Raises
    DataError if matplotlib can't be loaded.
    """
    if "matplotlib" in sys.modules:
        yield
        return
    hidden = {name: os.environ.pop(name, None) for name in ("MPLBACKEND", "MATPLOTLIBRC")}
    os.environ["MATPLOTLIBRC"] = os.devnull
    here = os.getcwd() if os.path.exists("matplotlibrc") else None  # it looks there first
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

    with quiet(), suppress(Exception):  # if they are wrong, the user's own figures will say so
        matplotlib.rcParams.update(matplotlib.rc_params())
    with suppress(ValueError):
        if backend := os.environ.get("MPLBACKEND"):
            matplotlib.rcParams["backend"] = backend
