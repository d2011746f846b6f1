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

# Where launchers say how many ranks they started: MPICH and Intel MPI, Open MPI, MVAPICH, Slurm's srun
SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE", "SLURM_STEP_NUM_TASKS")


def launched() -> int:
    """The number of ranks that a launcher has started, from the environment; 1 without one."""
    sizes = (os.environ.get(name, "") for name in SIZES)
    return max((int(size) for size in sizes if size.isdigit()), default=1)


@cache
def world() -> Communicator:
    """The ranks that run this command together. Raises BackendError if there are several and mpi4py is missing."""
    if launched() < 2:
        return ALONE
    try:
        from minidl.parallel.mpi import MPICommunicator
    except ImportError as error:
        raise BackendError(
            f"{launched()} processes were started, and mpi4py can't be used ({error}): pip install 'minidl[mpi]'"
        ) from error
    return MPICommunicator()


def backend_of_rank(name: str, tf32: bool = False) -> ModuleType:
    """The array module called `name`, as by `get_backend`. With CuPy the ranks of a machine take one GPU each."""
    if name == "cupy" and launched() > 1:
        choose_gpu(world().local_rank)
    return get_backend(name, tf32)


def for_device(comm: Communicator, xp: ModuleType) -> Communicator:
    """The communicator for arrays of `xp` on the ranks of `comm`: by NCCL for CuPy's, if it can. A collective."""
    return comm if comm.size == 1 or xp is np else connect(comm, xp)
