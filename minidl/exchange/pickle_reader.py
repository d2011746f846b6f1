"""Reads the pickles of torch.save without running them.

A pickle is a program for a small machine with a stack: most opcodes push a value or put values into a container, and
a few import a function by name and call it. Python's own machine imports anything, so a pickle can run anything. This
one has the opcodes of OPCODES and no others, imports nothing, and "calls" only what its caller put into a table. It
builds dicts, lists, tuples, texts, numbers, True, False and None, and what that table makes of them.

Source: the opcodes are described in Python's `pickletools`, with the protocols 2 to 5 that torch.save can write.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from minidl.exchange.pickle_machine import Machine, Meaning, UnreadableError

MOST_BYTES = 16_000_000  # of a pickle: enough for the names and shapes of 50,000 tensors
MOST_STEPS = 2_000_000  # opcodes; each makes one value at most, so this limits memory and time

_STOP = ord(".")
OPCODES: dict[int, Callable[[Machine], None]] = {  # the only ones; their names in pickletools stand beside them
    0x80: lambda m: m.take(1),  # PROTO
    0x95: lambda m: m.take(8),  # FRAME: how much may be read at once
    _STOP: lambda m: None,  # STOP
    ord("N"): lambda m: m.push(None),  # NONE
    0x88: lambda m: m.push(True),  # NEWTRUE
    0x89: lambda m: m.push(False),  # NEWFALSE
    ord("J"): lambda m: m.push(m.number("<i")),  # BININT
    ord("K"): lambda m: m.push(m.number("<B")),  # BININT1
    ord("M"): lambda m: m.push(m.number("<H")),  # BININT2
    0x8A: lambda m: m.whole(),  # LONG1
    ord("G"): lambda m: m.push(m.number(">d")),  # BINFLOAT
    ord("X"): lambda m: m.text("<I"),  # BINUNICODE
    0x8C: lambda m: m.text("<B"),  # SHORT_BINUNICODE
    0x8D: lambda m: m.text("<Q"),  # BINUNICODE8
    ord("U"): lambda m: m.text("<B", "latin-1"),  # SHORT_BINSTRING, of Python 2
    ord("T"): lambda m: m.text("<i", "latin-1"),  # BINSTRING, of Python 2
    ord("("): lambda m: m.mark(),  # MARK
    ord(")"): lambda m: m.push(()),  # EMPTY_TUPLE
    0x85: lambda m: m.tuple(1),  # TUPLE1
    0x86: lambda m: m.tuple(2),  # TUPLE2
    0x87: lambda m: m.tuple(3),  # TUPLE3
    ord("t"): lambda m: m.push(tuple(m.marked())),  # TUPLE
    ord("]"): lambda m: m.push([]),  # EMPTY_LIST
    ord("a"): lambda m: m.append([m.pop()]),  # APPEND
    ord("e"): lambda m: m.append(m.marked()),  # APPENDS
    ord("}"): lambda m: m.push({}),  # EMPTY_DICT
    ord("s"): lambda m: m.set([m.pop(), m.pop()][::-1]),  # SETITEM
    ord("u"): lambda m: m.set(m.marked()),  # SETITEMS
    ord("q"): lambda m: m.put(m.number("<B")),  # BINPUT
    ord("r"): lambda m: m.put(m.number("<I")),  # LONG_BINPUT
    0x94: lambda m: m.put(len(m.memo)),  # MEMOIZE
    ord("h"): lambda m: m.get(m.number("<B")),  # BINGET
    ord("j"): lambda m: m.get(m.number("<I")),  # LONG_BINGET
    ord("c"): lambda m: m.name(m.line(), m.line()),  # GLOBAL
    0x93: lambda m: m.name(*[m.pop(), m.pop()][::-1]),  # STACK_GLOBAL
    ord("R"): lambda m: m.call(),  # REDUCE
    ord("b"): lambda m: m.build(),  # BUILD
    ord("Q"): lambda m: m.push(m.meaning.load(m.pop())),  # BINPERSID
}


def read_pickle(data: bytes, start: int, meaning: Meaning) -> tuple[Any, int]:
    """The value of the pickle that begins at data[start], and where it ends. Raises UnreadableError."""
    machine = Machine(data, start, meaning)
    for _ in range(MOST_STEPS):
        code = machine.take(1)[0]
        if code not in OPCODES:
            raise UnreadableError(f"its pickle has the opcode {code:#04x}, which isn't read")
        if code == _STOP:
            return machine.pop(), machine.at
        OPCODES[code](machine)
    raise UnreadableError(f"its pickle has more than {MOST_STEPS:,} opcodes")
