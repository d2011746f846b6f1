"""Reads the pickles of torch.save without running them.

A pickle is a program for a small machine with a stack: most opcodes push a value or put values into a container, and
a few import a function by name and call it. Python's own machine imports anything, so a pickle can run anything. This
one has the opcodes of OPCODES and no others, imports nothing, and "calls" only what its caller put into a table. It
builds dicts, lists, tuples, texts, numbers, True, False and None, and what that table makes of them.

Source: the opcodes are described in Python's `pickletools`, with the protocols 2 to 5 that torch.save can write.
"""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

MOST_BYTES = 16 << 20  # of a pickle: enough for the names and shapes of 60,000 tensors
MOST_STEPS = 2_000_000  # opcodes; each makes one value at most, so this limits memory and time
_NAME = 200  # letters of an imported name
_KEYS = (str, int, float, bool, type(None))  # a deep tuple as a key would be hashed recursively


class UnreadableError(Exception):
    """Why a file can't be read, in words. Who opened the file adds its name."""


class Name(NamedTuple):
    """What a pickle imports, such as "torch.FloatStorage": the name, and nothing behind it."""

    text: str


@dataclass
class Meaning:
    """What the imported names of a pickle stand for.

    calls      functions by name; each is given the tuple of arguments, checks it, and returns a value
    names      names that may be imported but not called
    load       gives the value of a persistent id, which stands for what is stored outside of the pickle
    """

    calls: Mapping[str, Callable[[tuple], Any]]
    names: Collection[str]
    load: Callable[[Any], Any]


def read_pickle(data: bytes, start: int, meaning: Meaning) -> tuple[Any, int]:
    """The value of the pickle that begins at data[start], and where it ends. Raises UnreadableError."""
    machine = _Machine(data, start, meaning)
    for _ in range(MOST_STEPS):
        code = machine.take(1)[0]
        if code not in OPCODES:
            raise UnreadableError(f"its pickle has the opcode {code:#04x}, which isn't read")
        if code == _STOP:
            return machine.pop(), machine.at
        OPCODES[code](machine)
    raise UnreadableError(f"its pickle has more than {MOST_STEPS:,} opcodes")


class _Machine:
    """The stack, the memo and the place in the program."""

    def __init__(self, data: bytes, at: int, meaning: Meaning) -> None:
        self.data, self.at, self.meaning = data, at, meaning
        self.stack: list[Any] = []
        self.below: list[list[Any]] = []  # the stack below each mark
        self.memo: dict[int, Any] = {}

    def take(self, count: int) -> bytes:
        """The next bytes of the program."""
        end = self.at + count
        if count < 0 or end > len(self.data):
            raise UnreadableError("its pickle is cut short")
        taken = self.data[self.at : end]
        self.at = end
        return taken

    def number(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def line(self) -> str:
        end = self.data.find(b"\n", self.at, self.at + _NAME + 1)
        if end < 0:
            raise UnreadableError(f"its pickle imports a name of more than {_NAME} letters, or is cut short")
        return _decoded(self.take(end + 1 - self.at)[:-1])

    def push(self, value: Any) -> None:
        self.stack.append(value)

    def pop(self) -> Any:
        if not self.stack:
            raise UnreadableError("its pickle is damaged: it takes a value that isn't there")
        return self.stack.pop()

    def top(self, *kinds: type) -> Any:
        """The last value, which is of one of these types exactly."""
        if not self.stack or type(self.stack[-1]) not in kinds:
            raise UnreadableError("its pickle puts something into a value that is no container for it")
        return self.stack[-1]

    def mark(self) -> None:
        self.below.append(self.stack)
        self.stack = []

    def marked(self) -> list[Any]:
        """The values since the last mark."""
        if not self.below:
            raise UnreadableError("its pickle is damaged: it takes values since a mark that isn't there")
        values, self.stack = self.stack, self.below.pop()
        return values

    def tuple(self, count: int) -> None:
        self.push(tuple([self.pop() for _ in range(count)][::-1]))

    def text(self, form: str, encoding: str = "utf-8") -> None:
        self.push(_decoded(self.take(self.number(form)), encoding))

    def whole(self) -> None:
        self.push(int.from_bytes(self.take(self.number("<B")), "little", signed=True))

    def put(self, index: int) -> None:
        if not self.stack:
            raise UnreadableError("its pickle is damaged: it keeps a value that isn't there")
        self.memo[index] = self.stack[-1]

    def get(self, index: int) -> None:
        if index not in self.memo:
            raise UnreadableError("its pickle is damaged: it repeats a value that it never kept")
        self.push(self.memo[index])

    def append(self, values: list[Any]) -> None:
        self.top(list).extend(values)

    def set(self, pairs: list[Any]) -> None:
        target, keys = self.top(dict, OrderedDict), pairs[::2]
        if len(pairs) % 2 or not all(type(key) in _KEYS for key in keys):
            raise UnreadableError("its pickle has a dict whose keys aren't texts or numbers")
        target.update(zip(keys, pairs[1::2], strict=True))

    def name(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise UnreadableError("its pickle imports something that is no name")
        text = f"{module}.{name}"
        if text not in self.meaning.calls and text not in self.meaning.names:
            raise UnreadableError(
                f"it holds a Python object, {text[:_NAME]}. Only tensors, numbers and texts are read, because a file "
                "must not run code. Where it was made, save the weights alone: torch.save(model.state_dict(), FILE)"
            )
        self.push(Name(text))

    def call(self) -> None:
        arguments, function = self.pop(), self.pop()
        if type(function) is not Name or function.text not in self.meaning.calls or type(arguments) is not tuple:
            raise UnreadableError("its pickle calls something that is no function of torch.save")
        self.push(self.meaning.calls[function.text](arguments))

    def build(self) -> None:
        """Attributes of the last value. A state dict has one, the versions of its modules, which isn't needed."""
        state = self.pop()
        self.top(OrderedDict)
        if type(state) is not dict or set(state) - {"_metadata"}:
            raise UnreadableError("its pickle gives a dict attributes that torch.save doesn't")


def _decoded(text: bytes, encoding: str = "utf-8") -> str:
    try:
        return text.decode(encoding)
    except UnicodeDecodeError:
        raise UnreadableError("its pickle has a text that isn't UTF-8") from None


_STOP = ord(".")
OPCODES: dict[int, Callable[[_Machine], None]] = {  # the only ones; their names in pickletools stand beside them
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
