"""The machine that a pickle runs on, without what Python's has: it imports nothing, and calls what it is given."""

from __future__ import annotations

import struct
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

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
    strange    names of tensors that aren't read, and what they are in words
    """

    calls: Mapping[str, Callable[[tuple], Any]]
    names: Collection[str]
    load: Callable[[Any], Any]
    strange: Mapping[str, str] = field(default_factory=dict)


class Machine:
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
        if len(pairs) % 2 or not all(map(_is_key, keys)):
            raise UnreadableError("its pickle has a dict whose keys aren't texts or numbers")
        target.update(zip(keys, pairs[1::2], strict=True))

    def name(self, module: Any, name: Any) -> None:
        if not (isinstance(module, str) and isinstance(name, str)):
            raise UnreadableError("its pickle imports something that is no name")
        text = f"{module}.{name}"
        if text in self.meaning.strange:
            raise UnreadableError(
                f"it holds {self.meaning.strange[text]}, which isn't read. Where it was made, save the tensors as "
                "dense ones of float32"
            )
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


def _is_key(key: Any) -> bool:
    """Whether `key` may be that of a dict. Of longer numbers a million can have the same hash, and be slow to tell
    apart.
    """
    return type(key) in _KEYS and (type(key) is not int or key.bit_length() <= 64)


def _decoded(text: bytes, encoding: str = "utf-8") -> str:
    try:
        return text.decode(encoding)
    except UnicodeDecodeError:
        raise UnreadableError("its pickle has a text that isn't UTF-8") from None
