"""A rank's line to the sentinel, so that all ranks end if one can't go on. `sentinel.py` is the other end.

    watch = watch_ranks(comm, "minidl")                               on all ranks
    watch.again("minidl train --resume runs/x")                       what to type after a failure, on each rank
    watch.fail("the data can't be read", 3)                           ends all ranks; never returns
    watch.close()                                                     this rank has done its work

Every rank has a thread that sends a sign of life each second, and ends the process when the sentinel says so. It does
that with `os._exit`, because the main thread may wait for ever in a call of MPI, which can't be interrupted.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import Any, NoReturn

from minidl.errors import printable
from minidl.parallel import sentinel
from minidl.parallel.addresses import addresses
from minidl.parallel.communicator import Communicator
from minidl.text.console import warn

CONNECT = 3.0  # seconds for each address of rank 0
TURN = 0.5  # seconds from one rank to the next in which they may say that the sentinel has gone: the first ends all


class Watch:
    """One rank's connection to the sentinel. Without one the rank can only abort."""

    def __init__(self, comm: Communicator, program: str) -> None:
        self.comm, self.program, self.host = comm, program, socket.gethostname()
        self._connection: socket.socket | None = None
        self._process: subprocess.Popen | None = None  # the sentinel, on rank 0
        self.command, self._done = "", False

    def again(self, command: str) -> None:
        """Sets the command that continues the run, for the line about a failure. All ranks should know it."""
        self.command = f"mpiexec -n {self.comm.size} {command}" if self.comm.size > 1 else command
        self._send({"again": self.command})

    def fail(self, line: str | None, code: int) -> NoReturn:
        """Ends all ranks with this exit code. The sentinel prints the line once, with the ranks whose it is."""
        with suppress(OSError, ValueError):
            sys.stdout.flush()
        if self._send({"error": line and printable(line), "code": code}):
            time.sleep(sentinel.GREETING)  # the thread ends the process before
        elif line:
            self._say(f"rank {self.comm.rank} on {self.host}: {line}")
        self.comm.abort(code)
        os._exit(code)

    def close(self) -> None:
        """The rank has done its work."""
        self._done = True  # before the goodbye, after which the sentinel ends the connection
        self._send({"bye": True})

    def start_sentinel(self) -> dict[str, Any]:
        """Starts the process, on rank 0. Returns what the others need to find it, or what the problem is."""
        token = secrets.token_hex(32)
        try:
            with socket.create_server(("", 0)) as listening:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", sentinel.__file__, str(listening.fileno())],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    pass_fds=[listening.fileno()],
                    start_new_session=True,  # not for a launcher's signals to all processes that it has started
                )
                port = listening.getsockname()[1]
            setting = {"size": self.comm.size, "token": token, "program": self.program}
            self._process.stdin.write(json.dumps(setting).encode() + b"\n")  # the token on no command line
            self._process.stdin.close()
        except (OSError, ValueError) as error:  # ValueError: Windows hands on no sockets
            return {"problem": str(error)}
        return {"token": token, "port": port, "addresses": addresses(), "host": self.host}

    def connect(self, setting: dict[str, Any]) -> str:
        """Finds the sentinel at one of rank 0's addresses; returns what the problem was, or nothing."""
        token, problem = setting["token"], "no address"
        greeting = {"token": token[: len(token) // 2], "rank": self.comm.rank, "host": self.host}
        for address in setting["addresses"]:
            try:
                connection = socket.create_connection((address, setting["port"]), CONNECT)
                connection.sendall(json.dumps(greeting).encode() + b"\n")
                answer = connection.recv(1000).split(b"\n")[0]
                if json.loads(answer)["token"] == token[len(token) // 2 :]:
                    self._connection = connection
                    threading.Thread(target=self._listen, args=[setting["host"]], daemon=True).start()
                    return ""
            except (OSError, ValueError, KeyError, TypeError) as error:
                problem = f"{setting['host']} at {address}: {error}"
        return problem

    def _listen(self, host: str) -> None:
        """The thread: signs of life to the sentinel, and its orders, until the connection or the rank ends."""
        connection, unread, silence, beat = self._connection, b"", 0, 0.0
        connection.settimeout(1)
        what = f"can't be reached any more, for {sentinel.SILENCE:.0f} s"
        while silence < sentinel.SILENCE:
            if time.monotonic() > beat + 1:
                beat = time.monotonic()
                self._send({})
            try:
                data, silence = connection.recv(sentinel.LONGEST), 0
            except TimeoutError:
                silence += 1  # counted, not measured: a process that is suspended doesn't listen
                continue
            except OSError:
                data = b""
            if not data:
                what = "has died"
                break
            *lines, unread = (unread + data).split(b"\n")
            for message in map(json.loads, lines):
                if "end" in message:
                    os._exit(message["end"])
        if self._done:
            return
        time.sleep(TURN * self.comm.rank)
        self._say(f"rank 0 on {host} {what}" if self.comm.rank else f"the process that watches the ranks {what}")
        os._exit(sentinel.LOST)

    def _send(self, message: dict[str, Any]) -> bool:
        """Whether there is a sentinel to which the message goes."""
        if self._connection is None:
            return False
        with suppress(OSError):  # the thread notices it
            self._connection.sendall(json.dumps(message).encode() + b"\n")
        return True

    def _say(self, text: str) -> None:
        """A line on stderr from any rank, also from one that is mute."""
        line = f"{self.program}: {text}" + (f"; continue with: {self.command}" if self.command else "")
        with suppress(OSError):
            os.write(2, printable(line).encode("utf-8", "backslashreplace") + b"\n")


def watch_ranks(comm: Communicator, program: str) -> Watch:
    """Starts the sentinel and connects all ranks to it, which is a collective. `program` begins its line.

    If a rank finds no way to it, rank 0 warns, and that rank goes on unwatched.
    """
    watch = Watch(comm, program)
    setting = watch.start_sentinel() if comm.rank == 0 else None
    setting = json.loads(comm.broadcast_bytes(json.dumps(setting).encode()))
    problem = setting.get("problem") or watch.connect(setting)
    problems = [text.decode() for text in comm.allgather_bytes(problem.encode())]
    if blind := [rank for rank in range(comm.size) if problems[rank]]:
        ranks = "rank " + ", ".join(map(str, blind)) if len(blind) < comm.size else "the ranks"
        warn(f"warning  {ranks} can't be watched ({problems[blind[0]]}): if one dies, the others may wait for ever")
    return watch
