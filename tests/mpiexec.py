"""Ranks that `mpiexec` starts, for the tests and trials that need a real MPI."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
MPIEXEC = os.environ.get("MPIEXEC", str(Path(sys.executable).parent / "mpiexec"))
RANKS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK")  # where MPICH and Open MPI say which rank a process is
TINY = ["--model", "convnet", "--subset", "0.02", "--batch-size", "16", "--threads", "1"]


@cache
def launcher() -> list[str]:
    """mpiexec, with what Open MPI needs in a container and on few cores."""
    version = subprocess.run([MPIEXEC, "--version"], capture_output=True, text=True).stdout
    return [MPIEXEC, *(["--allow-run-as-root", "--oversubscribe"] if "Open MPI" in version else [])]


def start(ranks: int, *arguments: str, program: str = "-m minidl", **options) -> subprocess.Popen:
    """`mpiexec -n RANKS python PROGRAM ARGUMENTS`, with a pipe for each of its outputs."""
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [*launcher(), "-n", str(ranks), sys.executable, *program.split(" ", 1), *arguments]
    options = {"env": env, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen(command, **options)


def processes(folder: Path) -> dict[int, int]:
    """The process of each rank that trains in `folder`: {rank: process id}."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes().split(b"\0")
            variables = dict(v.split(b"=", 1) for v in (path / "environ").read_bytes().split(b"\0") if b"=" in v)
        except OSError:  # it has ended, or is another user's
            continue
        if os.fsencode(folder) in words or {os.fsencode(folder.name), os.fsencode(folder.parent)} <= {*words}:
            ranks = [int(variables[name.encode()]) for name in RANKS if name.encode() in variables]
            found |= {rank: int(path.name) for rank in ranks[:1]}
    return found


def lines_of(program: str, text: str) -> list[str]:
    """The lines that `program` printed, among those of launchers."""
    return [line for line in text.splitlines() if line.startswith(f"{program}: ")]
