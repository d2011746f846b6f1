"""Locks that die with their process, however it dies: `flock` on an open file or folder."""

from __future__ import annotations

try:
    import fcntl
except ImportError:  # Windows has none: everything counts as free there
    fcntl = None

LOCKS = fcntl is not None  # whether this system has any


def lock(descriptor: int, wait: bool = False) -> bool:
    """Locks what is open as `descriptor` until that is closed; False if another process has it locked.

    wait    until the other lets go of it

    Raises OSError where the file system knows no locks.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
