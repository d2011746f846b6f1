"""What this machine has for several processes: MPI, and NCCL for those that compute on GPUs."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from importlib.util import find_spec
from typing import Any

from minidl.backend.doctor import Finding
from minidl.engine.tiles.runner import available_cores

SECONDS = 20  # for MPI to answer; it takes one or two, and a broken network may let it wait for ever
LAUNCHERS = ("PMI", "PRTE_", "OMPI_COMM_", "OMPI_WORLD_", "HYD", "SLURM_", "MV2_COMM_")  # their variables begin so

# Runs in a process of its own: an MPI library may crash, hang, or take this process for one of a launcher's.
# Each line that it prints is known, even if the next one never comes.
ASK = """
import ctypes, json, mpi4py
mpi4py.rc.initialize = mpi4py.rc.finalize = False
def say(**found):
    print(json.dumps(found), flush=True)
say(mpi4py=mpi4py.__version__)
from mpi4py import MPI
say(library=MPI.Get_library_version())
MPI.Init()
kinds = MPI.COMM_WORLD.Get_info().Get("mpi_memory_alloc_kinds")  # of MPI 4.1
say(cuda=None if kinds is None else "cuda" in kinds)
try:
    say(cuda=bool(ctypes.CDLL(MPI.__file__).MPIX_Query_cuda_support()))
except (OSError, AttributeError):
    pass
MPI.Finalize()
"""


def diagnosis() -> list[Finding]:
    """A Finding for MPI, for GPUs in MPI, and for NCCL. Raises nothing, and starts no MPI in this process."""
    return [*_mpi(), _nccl()]


def _mpi() -> list[Finding]:
    if find_spec("mpi4py") is None:
        missing = (
            "the package mpi4py is not installed: pip install 'minidl[mpi]' mpich, for mpiexec -n 2 minidl train"
        )
        return [Finding("MPI", "missing", missing), Finding("MPI on GPU", "unknown", "MPI comes first")]
    found, problem = _ask()
    mpi4py = f"mpi4py {found.get('mpi4py', '')}".strip()
    if "library" not in found:
        missing = f"{mpi4py} can't load an MPI library ({problem}): pip install mpich, or another one"
        return [Finding("MPI", "missing", missing), Finding("MPI on GPU", "unknown", "MPI comes first")]
    library, launcher = library_name(found["library"]), shutil.which("mpiexec") or "no mpiexec on the PATH"
    text = f"{library}, {mpi4py}, {available_cores()} slots (cores), {launcher}"
    if "cuda" not in found:
        reason = f"{library} can't be started in one process ({problem})"
        return [Finding("MPI", "missing", reason), Finding("MPI on GPU", "unknown", "MPI comes first")]
    state, cuda = {
        True: ("ok", f"{library} is CUDA-aware"),
        False: ("missing", f"{library} is not CUDA-aware: arrays of a GPU go through the host"),
        None: ("unknown", f"{library} doesn't say whether it is CUDA-aware"),
    }[found["cuda"]]
    return [Finding("MPI", "ok", text), Finding("MPI on GPU", state, cuda)]


def library_name(version: str) -> str:
    """Name and version of an MPI library, from the text that it gives of itself."""
    line = (version.strip("\0 \n").splitlines() or ["an MPI library without a name"])[0]
    return re.sub(r"\s+(Version:\s*|v(?=\d))?", " ", line.partition(",")[0]).strip()


def _ask() -> tuple[dict[str, Any], str]:
    """What ASK found out, and why there is no more."""
    alone = {name: value for name, value in os.environ.items() if not name.startswith(LAUNCHERS)}
    problem = f"no answer within {SECONDS} s"
    # Files, not pipes: a process that MPI started, and left behind, would keep a pipe open.
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as errors:
        try:
            command = [sys.executable, "-c", ASK]
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=errors, env=alone, timeout=SECONDS
            )
            errors.seek(0)
            last = errors.read().decode(errors="replace").strip().splitlines()[-1:]
            problem = last[0] if last else f"exit code {done.returncode}"
        except subprocess.TimeoutExpired:
            pass
        except OSError as error:
            problem = str(error)
        out.seek(0)
        found: dict[str, Any] = {}
        for line in out.read().splitlines():
            if line.startswith(b"{"):
                found |= json.loads(line)
    return found, problem


def _nccl() -> Finding:
    try:
        import cupy  # noqa: F401
    except ImportError:
        return Finding("NCCL", "unknown", "CuPy comes first")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CuPy warns of a missing library
        try:
            from cupy.cuda import nccl

            if not nccl.available:
                raise ImportError("CuPy finds no NCCL")
            version = nccl.get_version()
        except Exception as error:  # of a library that is broken, in any way
            text = (str(error).splitlines() or [type(error).__name__])[0]
            return Finding("NCCL", "missing", f"{text}: pip install nvidia-nccl-cu12 or -cu13, as your CuPy")
    return Finding("NCCL", "ok", f"{version // 10000}.{version // 100 % 100}.{version % 100}")
