"""One contender in a process of its own: reads orders from standard input, answers each with a line of JSON.

    python -m benchmarks.worker COMPARISON NAME BATCH_SIZE THREADS [EXTRA ...]

An order is "train K" or "infer K", or the path of another method; the answer says how many seconds the K steps took,
how many of the processor, and the most memory the process has had so far. Between orders the process waits and
takes no processor time.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import sys
import time
from operator import attrgetter
from pathlib import Path

from benchmarks.contenders import CONTENDERS, make

STATUS = Path("/proc/self/status")
_ANSWERS = sys.stdout


def peak_rss_mb() -> float:
    """The largest resident memory so far."""
    if STATUS.exists():  # Linux, whose ru_maxrss begins with what the parent had when it started this process
        return int(re.search(r"VmHWM:\s*(\d+) kB", STATUS.read_text())[1]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # macOS counts in bytes


def limit_cores(threads: int) -> None:
    """Keeps this process on `threads` cores: XLA sizes its pool by them and can't be told otherwise."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:threads])


def main(comparison: str, name: str, batch_size: int, threads: int, *extra: str) -> None:
    limit_cores(threads)
    try:
        runner = make(comparison, name, batch_size, threads, *extra)
    except Exception as error:
        first = str(error).partition("\n\n")[0]  # torch.compile goes on with advice for its developers
        answer(failed=" ".join(f"{type(error).__name__}: {first}".split()))
        if CONTENDERS[comparison][name].optional:
            return
        raise
    done = 0
    answer(threads=runner.threads)
    for order in sys.stdin:
        what, steps = order.split()
        step = attrgetter(what)(runner)
        start, cpu_start = time.perf_counter(), time.process_time()
        for i in range(int(steps)):
            step(done + i)
        seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
        done += int(steps)
        answer(seconds=seconds, cpu_seconds=cpu_seconds, peak_rss_mb=peak_rss_mb())


def answer(**values: object) -> None:
    print(json.dumps(values), file=_ANSWERS, flush=True)


if __name__ == "__main__":
    _ANSWERS = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what a framework prints goes to standard error
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a word: the benchmark says it
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), *sys.argv[5:])
