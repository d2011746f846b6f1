"""Locks that end with their process, however it ends: `flock` on an open file or folder."""

from __future__ import annotations

try:
    import fcntl
except ImportError:  # Windows has no flock: everything counts as unlocked
    fcntl = None

LOCKS = fcntl is not None  # whether this system has any


def lock(descriptor: int, wait: bool = False) -> bool:
    """Locks the file or folder that is open as `descriptor` until it is closed; False if another process has locked
    it.

    wait    wait until the other process unlocks it

    Raises OSError if the file system has no locks.
    """
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True
