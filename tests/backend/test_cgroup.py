"""A container's limits, read from trees of files as Linux shows them."""

import numpy as np
import pytest

from minidl.backend import arrays as backend
from minidl.backend import cgroup
from minidl.backend.cgroup import cpu_quota, memory_room
from minidl.engine.tiles import runner

MB = 1 << 20
NONE = "9223372036854771712"  # what version 1 says without a limit


def tree(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n")
    return root


V2, V1 = "sys/fs/cgroup", "sys/fs/cgroup/memory"


@pytest.mark.parametrize(
    ("files", "room"),
    [
        ({}, None),  # no Linux
        ({"proc/self/cgroup": "0::/"}, None),  # the root group has no such files
        ({"proc/self/cgroup": "0::/", f"{V2}/memory.max": "max", f"{V2}/memory.current": 5 * MB}, None),
        (  # the container's own group looks like the root; the cache of files is free
            {
                "proc/self/cgroup": "0::/",
                f"{V2}/memory.max": 100 * MB,
                f"{V2}/memory.current": 40 * MB,
                f"{V2}/memory.stat": f"anon 1\ninactive_file {15 * MB}",
            },
            75 * MB,
        ),
        (  # the level above is the tighter one, by memory.high
            {
                "proc/self/cgroup": "0::/a/b",
                f"{V2}/a/b/memory.max": 100 * MB,
                f"{V2}/a/b/memory.current": MB,
                f"{V2}/a/memory.max": "max",
                f"{V2}/a/memory.high": 60 * MB,
                f"{V2}/a/memory.current": 50 * MB,
            },
            10 * MB,
        ),
        (
            {"proc/self/cgroup": "0::/", f"{V2}/memory.max": 10 * MB, f"{V2}/memory.current": 11 * MB},
            0,
        ),
        (  # version 1, seen from inside: the path is the host's
            {
                "proc/self/cgroup": "5:cpu,cpuacct:/docker/3f\n4:memory:/docker/3f\n0::/",
                f"{V1}/memory.limit_in_bytes": 64 * MB,
                f"{V1}/memory.usage_in_bytes": 30 * MB,
                f"{V1}/memory.stat": f"inactive_file 0\ntotal_inactive_file {10 * MB}",
            },
            44 * MB,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/",
                f"{V1}/memory.limit_in_bytes": NONE,
                f"{V1}/memory.usage_in_bytes": MB,
            },
            None,
        ),
        ({"proc/self/cgroup": "0::/", f"{V2}/memory.max": "rubbish", f"{V2}/memory.current": 1}, None),
    ],
)
def test_the_room_left_is_that_of_the_tightest_level(files, room, tmp_path):
    assert memory_room(tree(tmp_path, files)) == room


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/", f"{V2}/cpu.max": "max 100000"}, None),
        ({"proc/self/cgroup": "0::/", f"{V2}/cpu.max": "200000 100000"}, 2),
        ({"proc/self/cgroup": "0::/", f"{V2}/cpu.max": "150000 100000"}, 2),
        ({"proc/self/cgroup": "0::/", f"{V2}/cpu.max": "1000 100000"}, 1),
        (
            {"proc/self/cgroup": "0::/a/b", f"{V2}/a/b/cpu.max": "400000 100000", f"{V2}/a/cpu.max": "300000 100000"},
            3,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu:/docker/3f",
                f"{V2}/cpu/cpu.cfs_quota_us": 250000,
                f"{V2}/cpu/cpu.cfs_period_us": 100000,
            },
            3,
        ),
        ({"proc/self/cgroup": "3:cpu:/", f"{V2}/cpu/cpu.cfs_quota_us": -1, f"{V2}/cpu/cpu.cfs_period_us": 9}, None),
    ],
)
def test_a_share_of_time_is_a_number_of_cores(files, cores, tmp_path):
    assert cpu_quota(tree(tmp_path, files)) == cores


def test_memory_and_cores_obey_both_the_machine_and_the_container(monkeypatch):
    free, cores = backend.available_memory(np), runner.available_cores()
    monkeypatch.setattr(backend, "memory_room", lambda: 1000)
    monkeypatch.setattr(runner, "cpu_quota", lambda: 1)
    assert free is None or backend.available_memory(np) == 1000
    assert runner.available_cores() == 1
    monkeypatch.setattr(runner, "cpu_quota", lambda: 10**6)
    assert runner.available_cores() >= cores
    assert cgroup.ROOT.as_posix() == "/"
