"""The memory and cores that a container leaves to its processes: Linux's control groups, version 1 or 2.

A group's limit holds for all groups inside it, so this module reads the limits of all groups from the process's own
to the root. In a container the path of the group may contain folders that only the host sees; these are left out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

ROOT = Path("/")


def memory_room(root: Path = ROOT) -> int | None:
    """The bytes that can still be allocated, or None if no group has a limit.

    Cached files that aren't in use count as free, because the kernel drops them first.
    """
    rooms = []
    for level in _levels("memory", root):
        limits = [_number(level / name) for name in ("memory.max", "memory.high", "memory.limit_in_bytes")]
        used = next((n for name in ("current", "usage_in_bytes") if (n := _number(level / f"memory.{name}"))), None)
        if used is None or not (limits := [limit for limit in limits if limit is not None]):
            continue
        statistics = dict(line.split() for line in _lines(level / "memory.stat"))
        cached = int(statistics.get("total_inactive_file", statistics.get("inactive_file", 0)))
        rooms.append(max(min(limits) - max(used - cached, 0), 0))
    return min(rooms, default=None)


def cpu_quota(root: Path = ROOT) -> int | None:
    """The cores that correspond to the groups' shares of time, rounded up; None if no group has a limit."""
    quotas = []
    for level in _levels("cpu", root):
        version2 = " ".join(_lines(level / "cpu.max")).split()
        quota, period = version2 or (
            next(iter(_lines(level / f"cpu.cfs_{name}_us")), "") for name in ("quota", "period")
        )
        if quota.isdigit() and period.isdigit():  # "max" and -1 are no limit
            quotas.append(math.ceil(int(quota) / int(period)))
    return max(min(quotas), 1) if quotas else None


def _levels(controller: str, root: Path) -> Iterator[Path]:
    """The folders of the groups that this process is in, from its own to the root, for either version."""
    for line in _lines(root / "proc/self/cgroup"):  # such as "4:memory:/docker/3f2a" or "0::/user.slice"
        _, controllers, path = line.split(":", 2)
        if controllers and controller not in controllers.split(","):
            continue
        mount = root / "sys/fs/cgroup" / (controllers and controller)
        group = mount / path.strip("/")
        yield group
        yield from (parent for parent in group.parents if parent.is_relative_to(mount))


def _number(path: Path) -> int | None:
    """The number in a file; None if there is no file or no limit ("max", or more than any machine has)."""
    text = next(iter(_lines(path)), "")
    return int(text) if text.isdigit() and int(text) < 2**60 else None


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return []
