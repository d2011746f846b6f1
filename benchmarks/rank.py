"""One rank of a contender in `python -m benchmarks.parallel`: takes orders from a socket, answers with lines of JSON.

    python -m benchmarks.rank SOCKET MODE BATCH_SIZE THREADS         (by itself, or under mpiexec)

MODE is default, sync-bn or exact for training steps of the refined net, or messages. A rank that waits for an order
takes no processor time; one that waits in MPI would.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
import time
from hashlib import sha256
from statistics import median
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.minidl_step import NETWORKS
from benchmarks.rounds import WARM_UP
from benchmarks.settings import LEARNING_RATE, WEIGHT_DECAY, random_batches
from benchmarks.worker import peak_rss_mb
from minidl.engine import prepare
from minidl.layers import TRAIN
from minidl.losses import softmax_cross_entropy
from minidl.optim import Adam
from minidl.parallel.communicator import Communicator
from minidl.parallel.runner import RankRunner
from minidl.parallel.share import Share
from minidl.parallel.step import DataParallel
from minidl.parallel.world import world

BLOCKS = 5  # of calls, of which the median counts


class Training:
    """Training steps of the refined net as `minidl train` does them, on this rank's part of each batch."""

    def __init__(self, comm: Communicator, mode: str, batch_size: int, threads: int) -> None:
        threadpool_limits(1)
        self.comm, share, exact = comm, Share(comm), mode == "exact"
        runner = RankRunner(threads, share, exact) if mode != "default" else None
        self.model = prepare(NETWORKS["refined"](), threads, runner)
        self.optimizer = Adam(self.model.named_parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        part, self.images, self.steps = comm.share(batch_size), batch_size, 0
        self.batches = [(x[part], y[part]) for x, y in random_batches("refined", batch_size)]
        self.parallel = None
        if comm.size > 1 or exact:
            self.parallel = DataParallel(self.model, share, sync_bn=mode == "sync-bn", exact=exact)

    def begin(self) -> dict[str, Any]:
        """The first steps, which warm up: the last one's loss, and a digest of all weights after it."""
        losses = [self._step() for _ in range(WARM_UP)]
        digest = sha256(b"".join(p.value.tobytes() for p in self.model.named_parameters().values()))
        return {"loss": float(losses[-1]), "digest": digest.hexdigest()}

    def train(self, steps: int) -> dict[str, float]:
        self.comm.barrier()
        start, cpu_start = time.perf_counter(), time.process_time()
        for _ in range(steps):
            self._step()
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        return {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_rss_mb": peak_rss_mb()}

    def _step(self) -> float:
        (x, y), context = self.batches[self.steps % len(self.batches)], TRAIN.at_step(self.steps)
        if self.parallel:
            loss, _ = self.parallel.gradients(x, y, self.images, context, 0.0)
        else:
            logits, cache = self.model.forward(x, context)
            loss, dlogits = softmax_cross_entropy(logits, y)
            self.model.zero_grad()
            self.model.backward(dlogits, cache, need_dx=False)
        self.optimizer.step()
        self.steps += 1
        return loss


class Messages:
    """The time of one call, for arrays of float32 that are `size` bytes in the end."""

    def __init__(self, comm: Communicator) -> None:
        self.comm = comm

    def begin(self) -> dict[str, Any]:
        return {}

    def allreduce(self, size: int, calls: int) -> dict[str, float]:
        return self._time(self.comm.allreduce, size, calls)

    def tree_sum(self, size: int, calls: int) -> dict[str, float]:
        return self._time(self.comm.tree_sum, size, calls)

    def allgather(self, size: int, calls: int) -> dict[str, float]:
        return self._time(self.comm.allgather, size // self.comm.size, calls)

    def _time(self, call: Any, size: int, calls: int) -> dict[str, float]:
        a, blocks = np.zeros(size // 4, np.float32), []
        call(a)
        for _ in range(BLOCKS):
            self.comm.barrier()
            start = time.perf_counter()
            for _ in range(calls):
                call(a)
            blocks.append((time.perf_counter() - start) / calls)
        return {"seconds": median(blocks)}


def main(path: str, mode: str, batch_size: int, threads: int) -> None:
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(path)
    comm = world()
    work = Messages(comm) if mode == "messages" else Training(comm, mode, batch_size, threads)
    with connection.makefile("rw") as lines:
        lines.write(json.dumps({"rank": comm.rank, "size": comm.size, **work.begin()}) + "\n")
        lines.flush()
        for order in lines:
            what, *numbers = order.split()
            lines.write(json.dumps(getattr(work, what)(*map(int, numbers))) + "\n")
            lines.flush()


if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a word: the benchmark says it
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
