"""A model of a training step on many machines. Its results are predictions: nothing of it was run.

A step on R ranks is what one rank computes for its images, and then the sum of S bytes of gradients over the ranks.
With a latency a and a bandwidth b of a link, in each direction at once (Thakur, Rabenseifner & Gropp 2005,
"Optimization of collective communication operations in MPICH"):

    ring                  2 (R - 1) a + 2 (R - 1)/R S/b      each rank sends parts to its neighbour
    recursive doubling    ceil(log2 R) (a + S/b)             pairs exchange all of it; `--exact` sums so

Weak scaling: every rank has the same number of images, whatever R. Strong scaling: a batch of fixed size is cut over
R ranks. Efficiency is the images per second of R ranks over R times those of one rank.
"""

from __future__ import annotations

from math import ceil, log2
from typing import NamedTuple

import numpy as np

RANKS = tuple(2**k for k in range(11))  # 1 to 1,024
PER_RANK, GLOBAL = 64, 1024  # images: of a rank in weak scaling, of the whole batch in strong scaling
GIGABIT = 1e9 / 8  # bytes per second

ASSUMPTIONS = """\
- A rank is a process that computes as this machine does with all its threads, with whatever link.
- The time of a step of few images is interpolated between measured ones; above the largest it grows in proportion.
- The sum begins when the backward pass is over, as it does in minidl. No part of it is hidden.
- Of ring and recursive doubling the faster one counts. Adding numbers, and copying gradients into the vector, count
  only in the measured link.
- All ranks begin the sum at the same time, and every link is free for it.\
"""
UNKNOWN = """\
- **Stragglers.** A sum waits for the slowest rank. With many ranks, one of them is always slow.
- **Congestion.** Switches are shared, and 1,024 machines aren't on one switch.
- **The input.** Each rank must read and augment its images in time, perhaps from one file server.
- **Convergence.** Images per second aren't accuracy: large batches need other learning rates, and beyond some size
  more epochs.
- **GPUs.** The lines with NVLink have its communication and this CPU's computation. A GPU computes faster, so it
  would wait for the sum for a larger part of its time.\
"""


class Link(NamedTuple):
    """What connects two ranks."""

    name: str
    latency: float  # seconds for a message of no bytes
    bandwidth: float  # bytes per second in each direction
    most: int = RANKS[-1]  # ranks that it can connect


# TCP: half of a round trip of 92 to 100 us between two machines of a cloud with 10 Gb/s (AWS C3, enhanced networking;
# blogs.scalablelogic.com/2014/01/enhanced-networking-in-aws-cloud-part-2.html).
# Past the kernel: 1.93 us, and 37.23 of 40 Gb/s, that is 93 %, between two machines with Open MPI
# (news-blogs.cisco.com/performance/mpi-over-40gb-ethernet). That share of the rate is taken for both networks.
# NVLink: 3.4 us for a step of a ring, and 20.6 GB/s for each of the 18 links of an H100, are what NCCL reckons with
# (src/graph/tuning.cc and src/graph/topo.h).
PUBLISHED = (
    Link("25 Gb/s Ethernet, TCP", 48e-6, 0.93 * 25 * GIGABIT),
    Link("100 Gb/s InfiniBand or RoCE", 1.93e-6, 0.93 * 100 * GIGABIT),
    Link("NVLink 4, one board", 3.4e-6, 18 * 20.6e9, most=8),
)


def measured_link(seconds: dict[int, float]) -> Link:
    """The link whose a + S/b comes nearest to these times of one exchange of S bytes, in relative terms."""
    sizes, times = (np.array([*values], np.float64) for values in (seconds.keys(), seconds.values()))
    slope, latency = np.polyfit(sizes, times, 1, w=1 / times)
    return Link("memory of this machine, measured", max(float(latency), 0.0), 1 / float(slope), most=8)


def ring(size: float, ranks: int, link: Link) -> float:
    """Seconds to sum `size` bytes."""
    return 2 * (ranks - 1) * (link.latency + size / ranks / link.bandwidth)


def doubling(size: float, ranks: int, link: Link) -> float:
    """Seconds to sum `size` bytes."""
    return ceil(log2(ranks)) * (link.latency + size / link.bandwidth)


def summing(size: float, ranks: int, link: Link) -> float:
    """Seconds to sum `size` bytes in the faster of both ways."""
    return min(ring(size, ranks, link), doubling(size, ranks, link))


def computing(measured: dict[int, float], images: float) -> float:
    """Seconds that a rank computes for so many images, from {images: seconds} that were measured."""
    sizes = sorted(measured)
    if images > sizes[-1]:
        return measured[sizes[-1]] * images / sizes[-1]
    return float(np.exp(np.interp(np.log(images), np.log(sizes), np.log([measured[n] for n in sizes]))))


def weak(measured: dict[int, float], size: float, ranks: int, link: Link, how=summing) -> float:
    """Efficiency with PER_RANK images on each rank."""
    one = computing(measured, PER_RANK)
    return one / (one + how(size, ranks, link))


def strong(measured: dict[int, float], size: float, ranks: int, link: Link, how=summing) -> float:
    """Efficiency with GLOBAL images on all ranks together."""
    step = computing(measured, GLOBAL / ranks) + how(size, ranks, link)
    return computing(measured, GLOBAL) / (ranks * step)
