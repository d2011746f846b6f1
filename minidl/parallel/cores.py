"""How ranks on the same machine share its cores."""

from __future__ import annotations

import json
import os
import socket
from typing import NamedTuple

from minidl.backend.cgroup import cpu_quota
from minidl.engine.tiles.runner import limit_cores
from minidl.parallel.communicator import Communicator
from minidl.text.plural import counted


class Place(NamedTuple):
    """Where a rank runs."""

    host: str
    cores: frozenset[int]  # those it is bound to: by default all of the machine, but some launchers bind
    quota: int  # the cores for which its container has time; without a container, those of the machine


def places(comm: Communicator) -> list[Place]:
    """The places of all ranks, by the names of their hosts. A collective."""
    bound = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    own = [socket.gethostname(), sorted(bound), cpu_quota() or os.cpu_count() or len(bound)]
    texts = comm.allgather_bytes(json.dumps(own).encode())
    return [Place(host, frozenset(cores), quota) for host, cores, quota in map(json.loads, texts)]


def share_of_cores(ranks: list[Place], rank: int) -> int:
    """The cores for one rank, at least 1, such that ranks x threads <= cores on each machine."""
    own = ranks[rank]
    here = [place for place in ranks if place.host == own.host]
    same = [place for place in here if place.cores & own.cores]
    return max(min(len(own.cores) // len(same), own.quota // len(here)), 1)


def ranks_in_words(comm: Communicator, threads: int) -> list[str]:
    """A line about the ranks and their `threads` each (0: their share of the cores), and one about each machine that
    has fewer cores than that. Nothing for one rank. A collective.
    """
    if comm.size == 1:
        return []
    ranks, lines = places(comm), []
    for host in dict.fromkeys(place.host for place in ranks):
        here = [rank for rank, place in enumerate(ranks) if place.host == host]
        cores = min(len(frozenset().union(*(ranks[rank].cores for rank in here))), ranks[here[0]].quota)
        each = threads or share_of_cores(ranks, here[0])
        work = f"{len(here)} on {host}, {counted(each, 'thread')} each"
        lines.append(f"ranks    {work}")
        if len(here) * each > cores:
            advice = "give fewer --threads" if each > 1 else "start fewer of them"
            lines.append(f"warning  {work}, and it has {counted(cores, 'core')}: slow; {advice}")
    return lines


def share_cores(comm: Communicator) -> None:
    """Limits this rank to its share of the machine's cores. A collective."""
    limit_cores(share_of_cores(places(comm), comm.rank))
