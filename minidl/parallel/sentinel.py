"""A small process beside rank 0 that notices when a rank fails, says it in one line, and ends the others.

    python -I -S sentinel.py LISTENING      what it must know comes as JSON through stdin

It is a process of its own, in a session of its own: when a rank dies, launchers kill all other ranks within
milliseconds, and one of these could seldom still say why. The sentinel isn't a rank, so it can. It knows only the
standard library and can't import minidl: it shall start at once and need little memory.

Every rank has a TCP connection to it (`watch.py` is the other end). Both ends send a line of JSON every second.

    from a rank     {"token", "rank", "host"}     first of all, or the connection is closed
                    {"again": TEXT}               the command that continues the run
                    {"error": TEXT, "code": N}    it can't go on (TEXT null: without a word)
                    {"bye": true}                 it has done its work
    to a rank       {"token"}                     the other half, so that the rank knows whom it has met
                    {"end": N}                    leave, with this exit code

A connection that ends without a goodbye is that of a dead process. A rank that is silent for SILENCE seconds is cut
off, if rank 0, on this machine, isn't silent too: then the whole program is suspended.
"""

from __future__ import annotations

import hmac
import json
import os
import selectors
import socket
import sys
import time
from contextlib import suppress
from typing import Any

SILENCE = 6.0  # seconds
GATHER = 0.5  # seconds in which other ranks may report the same error
GREETING = 10.0  # seconds in which all ranks must have come, or leave after they were told to
LONGEST = 1 << 16  # bytes of a line
LOST = 6  # the exit code when a rank is lost (RankError's)
INTERNAL = 1


class Peer:
    """One connection: of no rank yet, until it has shown the token."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        self.connection, self.rank, self.host = connection, -1, ""
        self.unread, self.heard = b"", time.monotonic()

    def send(self, message: dict[str, Any]) -> None:
        with suppress(OSError):  # a connection that is full or broken is noticed by its silence, or its end
            self.connection.send(json.dumps(message).encode() + b"\n")

    def receive(self) -> list[dict[str, Any]] | None:
        """The messages that have come; None at the end of the connection, and for what isn't ours."""
        try:
            data = self.connection.recv(LONGEST)
            *lines, self.unread = (self.unread + data).split(b"\n")
            messages = [json.loads(line) for line in lines]
        except BlockingIOError:
            return []
        except (OSError, ValueError, RecursionError):
            return None
        if not data or len(self.unread) > LONGEST or not all(isinstance(m, dict) for m in messages):
            return None
        self.heard = time.monotonic()
        return messages


class Sentinel:
    """Watches `size` ranks, which know the `token`; `program` begins its line."""

    def __init__(self, listening: socket.socket, size: int, token: str, program: str) -> None:
        self.listening, self.size, self.program = listening, size, program
        self.token, self.answer = token[: len(token) // 2], token[len(token) // 2 :]
        self.peers: list[Peer] = []
        self.hosts: dict[int, str] = {}  # of all ranks that have come
        self.troubles: list[tuple[int, str | None, int]] = []  # rank, what it says, exit code
        self.again = ""
        self.selector = selectors.DefaultSelector()
        self.selector.register(listening, selectors.EVENT_READ)

    def run(self) -> None:
        """Until all ranks have left."""
        begun = beat = time.monotonic()
        since: float | None = None  # when the first trouble was seen
        while self.peers or (not self.hosts and time.monotonic() < begun + GREETING):
            for key, _ in self.selector.select(0.1):
                self._hear(key.data) if key.data else self._accept()
            now = time.monotonic()
            if now > beat + 1:
                beat = now
                for peer in self.peers:
                    if peer.rank >= 0:
                        peer.send({})
                self._find_silent(now)
            if self.troubles and since is None:
                since = now
            if since is not None and (now > since + GATHER or {t[0] for t in self.troubles} >= {*self.hosts}):
                return self._end()

    def _accept(self) -> None:
        with suppress(OSError):
            peer = Peer(self.listening.accept()[0])
            self.selector.register(peer.connection, selectors.EVENT_READ, peer)
            self.peers.append(peer)

    def _hear(self, peer: Peer) -> None:
        messages = peer.receive()
        for message in messages or []:
            if peer.rank < 0 and not self._greet(peer, message):
                return self._drop(peer)
            self.again = str(message.get("again", self.again))
            if "bye" in message:
                return self._drop(peer)
            if "error" in message:
                self.troubles.append((peer.rank, message["error"], int(message["code"])))
        if messages is None:
            self._drop(peer)
            if peer.rank >= 0 and peer.rank not in {t[0] for t in self.troubles}:
                self.troubles.append((peer.rank, "has died", LOST))

    def _greet(self, peer: Peer, message: dict[str, Any]) -> bool:
        """Whether the first message of a connection is that of a rank."""
        rank, token = message.get("rank"), str(message.get("token"))
        if not hmac.compare_digest(token.encode(), self.token.encode()) or rank not in range(self.size):
            return False
        peer.rank, peer.host = rank, str(message.get("host"))
        self.hosts[rank] = peer.host
        peer.send({"token": self.answer})
        return True

    def _drop(self, peer: Peer) -> None:
        self.selector.unregister(peer.connection)
        self.peers.remove(peer)
        peer.connection.close()

    def _find_silent(self, now: float) -> None:
        for peer in [p for p in self.peers if p.rank < 0 and now > p.heard + GREETING]:
            self._drop(peer)
        if any(p.rank == 0 and now > p.heard + SILENCE / 3 for p in self.peers):  # suspended: nobody can be heard
            for peer in self.peers:
                peer.heard = now
        for peer in [p for p in self.peers if now > p.heard + SILENCE]:
            self._drop(peer)
            self.troubles.append((peer.rank, f"can't be reached any more, for {SILENCE:.0f} s", LOST))

    def _end(self) -> None:
        """One line about one trouble, and the end. Who died first; else the lowest rank's error, unless that is an
        internal one, which may be the consequence of another. Ranks with the same exit code are named together.
        """
        rank, text, code = min(self.troubles, key=lambda t: (t[2] == INTERNAL, t[2] != LOST and t[0]))
        if text is not None:
            self._say(text, code, [rank] if code == LOST else sorted({t[0] for t in self.troubles if t[2] == code}))
        for peer in self.peers:
            peer.send({"end": code})
        deadline = time.monotonic() + GREETING
        while any(p.rank >= 0 for p in self.peers) and time.monotonic() < deadline:
            for key, _ in self.selector.select(0.1):
                if key.data and key.data.receive() is None:
                    self._drop(key.data)

    def _say(self, text: str, code: int, ranks: list[int]) -> None:
        """Prints the line. An error of all ranks, or of rank 0, which reads the files, is one of the program; for any
        other one the machine may matter.
        """
        if code in (LOST, INTERNAL) and len(ranks) < self.size or 0 not in ranks:
            who = " and ".join(f"rank {r} on {self.hosts[r]}" for r in ranks[:3]) + " and others" * (len(ranks) > 3)
            text = f"{who} {text}" if code == LOST else f"{who}: {text}"
            text += f"; continue with: {self.again}" if self.again else ""
        line = f"{self.program}: {text}"
        line = line if line.isprintable() else ascii(line)[1:-1]
        with suppress(OSError):
            os.write(2, line.encode("utf-8", "backslashreplace") + b"\n")


def main() -> None:
    """The process: what it must know, then the watch."""
    setting = json.loads(sys.stdin.buffer.readline())
    Sentinel(socket.socket(fileno=int(sys.argv[1])), setting["size"], setting["token"], setting["program"]).run()


if __name__ == "__main__":
    main()
