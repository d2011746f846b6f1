"""A command that a launcher has started several times: `mpiexec -n 4 minidl train`."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Callable

from minidl.cli.boundary import answer, tidy_end, trace
from minidl.parallel.communicator import ALONE
from minidl.parallel.cores import share_cores
from minidl.parallel.watch import Watch, watch_ranks
from minidl.parallel.world import launched, leave, place, world
from minidl.text.calls import program
from minidl.text.console import mute


def mute_others() -> None:
    """Of several ranks rank 0 alone prints, from the first wrong flag on."""
    if place()[1] > 0:
        mute()


def run_on_ranks(command: Callable[[Namespace], int], args: Namespace, share: bool) -> int:
    """Runs a command that can `share` its work in all ranks, and any other one in rank 0 alone.

    It finds in its flags `watch`, which should know how to continue after a failure: if a rank fails, all of them
    end, with one line and its exit code.
    """
    if not share or launched() == 1:
        if place()[1] > 0:
            return 0
        if launched() > 1:
            leave()
        args.watch = Watch(ALONE, program())
        with tidy_end():
            return command(args)
    comm = world()
    args.watch = watch_ranks(comm, program())
    try:
        share_cores(comm)
        code = command(args)
        comm.barrier()  # if one ends with another code than 0, launchers kill all, and rank 0 may still be writing
    except BaseException as error:
        sys.stderr = sys.__stderr__  # where this rank failed is for itself to say
        trace()
        args.watch.fail(*answer(error))
    args.watch.close()
    return code
