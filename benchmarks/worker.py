"""One contender in a process of its own: reads orders from standard input, answers each with a line of JSON.

    python -m benchmarks.worker NAME BATCH_SIZE THREADS

An order is "train K" or "infer K"; the answer says how many seconds the K steps took and the most memory the process
has had so far. Between orders the process waits and takes no processor time.
"""

from __future__ import annotations

import json
import resource
import sys
import time

from benchmarks.contenders import make


def peak_rss_mb() -> float:
    """The largest resident memory so far. Linux counts in kB, macOS in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6


def main(name: str, batch_size: int, threads: int) -> None:
    runner = make(name, batch_size, threads)
    done = 0
    answer(ready=True)
    for order in sys.stdin:
        what, steps = order.split()
        step = getattr(runner, what)
        start = time.perf_counter()
        for i in range(int(steps)):
            step(done + i)
        seconds = time.perf_counter() - start
        done += int(steps)
        answer(seconds=seconds, peak_rss_mb=peak_rss_mb())


def answer(**values: object) -> None:
    print(json.dumps(values), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
