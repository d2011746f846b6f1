"""Two ranks on two machines, joined by a cable of 10 ms: they train; then the cable is cut, and both must end within
the time-out, with a line that says who can't be reached.

    python -m tests.mpi_network         as root, on Linux with iproute2, with MPICH

The machines are network namespaces with a host name each. The cable is this process: it carries every frame from one
virtual network device (tap) to the other 10 ms later, until it is cut. Nobody is told then, as on a real network.
"""

from __future__ import annotations

import fcntl
import os
import queue
import shlex
import struct
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from tests.kills import wait_for
from tests.mpiexec import MPIEXEC, ROOT, TINY, lines_of, processes

NODES = {"node-a": "10.77.0.1", "node-b": "10.77.0.2"}
LATENCY = 0.01  # seconds, one way
GONE = 15.0  # seconds: 6 of silence, and the rest on a busy machine
TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x2, 0x1000


def sh(command: str, check: bool = True) -> None:
    subprocess.run(shlex.split(command), check=check, capture_output=not check)


class Cable:
    """Carries the frames between the devices of both nodes."""

    def __init__(self) -> None:
        self.whole = True
        first, second = (self._device(node, address) for node, address in NODES.items())
        for source, target in ((first, second), (second, first)):
            on_the_way: queue.Queue[tuple[float, bytes]] = queue.Queue()
            threading.Thread(target=self._take, args=(source, on_the_way), daemon=True).start()
            threading.Thread(target=self._bring, args=(target, on_the_way), daemon=True).start()

    def _device(self, node: str, address: str) -> int:
        device = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(device, TUNSETIFF, struct.pack("16sH", node.encode(), IFF_TAP | IFF_NO_PI))
        sh(f"ip netns add {node}")
        sh(f"ip link set {node} netns {node}")
        sh(f"ip -n {node} address add {address}/24 dev {node}")
        sh(f"ip -n {node} link set lo up")
        sh(f"ip -n {node} link set {node} up")
        return device

    def _take(self, device: int, on_the_way: queue.Queue) -> None:
        with suppress(OSError):  # the device goes with its namespace
            while frame := os.read(device, 1 << 16):
                on_the_way.put((time.monotonic() + LATENCY, frame))

    def _bring(self, device: int, on_the_way: queue.Queue) -> None:
        with suppress(OSError):
            while True:
                due, frame = on_the_way.get()
                time.sleep(max(due - time.monotonic(), 0))
                if self.whole:
                    os.write(device, frame)


def disconnect() -> None:
    for node in NODES:
        sh(f"ip netns delete {node}", check=False)


def remote_shell(folder: Path) -> Path:
    """What mpiexec takes for ssh: HOST COMMAND runs in the namespace that has the address HOST, under its name."""
    path = folder / "shell"
    cases = "\n".join(f"{address}) node={node};;" for node, address in NODES.items())
    path.write_text(
        f"#!/bin/sh\n[ $1 = -x ] && shift\ncase $1 in\n{cases}\nesac\nshift\n"
        'exec ip netns exec $node unshare --uts sh -c "hostname $node; exec $*"\n'
    )
    path.chmod(0o755)
    return path


def start(folder: Path, epochs: int, name: str) -> subprocess.Popen:
    first = next(iter(NODES))
    command = ["ip", "netns", "exec", first, MPIEXEC, "-launcher", "ssh", "-launcher-exec", str(remote_shell(folder))]
    command += [
        "-hosts",
        ",".join(NODES.values()),
        "-n",
        "2",
        "-ppn",
        "1",
        sys.executable,
        "-m",
        "minidl",
        "train",
        *TINY,
    ]
    command += ["--epochs", str(epochs), "--output", str(folder), "--name", name, "--checkpoint-minutes", "1e-9"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def main() -> None:
    disconnect()
    try:
        cable = Cable()
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            out, errors = (process := start(folder, 1, "whole")).communicate(timeout=300)
            if process.returncode:
                sys.exit(f"two ranks over the cable failed with exit code {process.returncode}: {errors}")
            print(*[line for line in out.splitlines() if line.startswith(("ranks", "done"))], sep="\n", flush=True)
            process, run = start(folder, 1000, "cut"), folder / "cut"
            wait_for((run / "checkpoints" / "last.safetensors").exists, 300)
            cable.whole = False
            begun = time.monotonic()
            wait_for(lambda: not processes(run), 60)
            gone = time.monotonic() - begun
            wait_for(lambda: process.poll() is not None, 10)
            ended = "" if process.poll() is None else f", mpiexec after {time.monotonic() - begun:.1f} s"
            process.kill()
            print(*lines_of("minidl", process.communicate()[1]), sep="\n")
            print(
                f"the cable is cut: both ranks are gone after {gone:.1f} s{ended or ', mpiexec waits for the host'}"
            )
            if gone > GONE:
                sys.exit("that is too late")
    finally:
        disconnect()


if __name__ == "__main__":
    main()
