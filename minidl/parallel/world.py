"""The communicator of this process: MPI's if `mpiexec` or another launcher started several ranks, else ALONE."""

from __future__ import annotations

import os
from functools import cache
from types import ModuleType

import numpy as np

from minidl.backend.arrays import get_backend
from minidl.errors import BackendError
from minidl.parallel.communicator import ALONE, Communicator
from minidl.parallel.nccl import choose_gpu, connect

# Where launchers say how many ranks they started, and which one this is: MPICH and Intel MPI, Open MPI, MVAPICH,
# Slurm's srun. The first that is there counts: Slurm's are there too if it only starts the launcher.
PLACES = (
    ("PMI_SIZE", "PMI_RANK"),
    ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    ("MV2_COMM_WORLD_SIZE", "MV2_COMM_WORLD_RANK"),
    ("SLURM_STEP_NUM_TASKS", "SLURM_PROCID"),
)


def place() -> tuple[int, int]:
    """(size, rank) as a launcher has put them into the environment; (1, 0) without one. MPI needn't be there."""
    for names in PLACES:
        size, rank = (os.environ.get(name, "") for name in names)
        if size.isdigit() and rank.isdigit():
            return int(size), int(rank)
    return 1, 0


def launched() -> int:
    """The number of ranks that a launcher has started, from the environment; 1 without one."""
    return place()[0]


@cache
def world() -> Communicator:
    """The ranks that run this command together. Raises BackendError if there are several and mpi4py is missing, or
    is of another MPI than the launcher: then each process is alone, and would do all the work.
    """
    if launched() < 2:
        return ALONE
    try:
        from minidl.parallel.mpi import MPICommunicator
    except (ImportError, RuntimeError) as error:  # RuntimeError: mpi4py finds no MPI library
        raise BackendError(
            f"{launched()} processes were started, and mpi4py can't be used ({error}): pip install 'minidl[mpi]'"
        ) from error
    comm = MPICommunicator()
    if comm.size != launched():
        raise BackendError(
            f"{launched()} processes were started, and mpi4py knows of {comm.size}: it needs the launcher of its own "
            "MPI, which `doctor` names"
        )
    return comm


def backend_of_rank(name: str, tf32: bool = False) -> ModuleType:
    """The array module called `name`, as by `get_backend`. With CuPy the ranks of a machine take one GPU each."""
    if name == "cupy" and launched() > 1:
        choose_gpu(world().local_rank)
    return get_backend(name, tf32)


def for_device(comm: Communicator, xp: ModuleType) -> Communicator:
    """The communicator for arrays of `xp` on the ranks of `comm`: by NCCL for CuPy's, if it can. A collective."""
    return comm if comm.size == 1 or xp is np else connect(comm, xp)


def leave() -> None:
    """From here on this process is alone: for rank 0 of a command that knows nothing of ranks."""
    for name in (name for names in PLACES for name in names):
        os.environ.pop(name, None)
