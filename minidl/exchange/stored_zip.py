"""The zip files of torch.save: every entry lies in them uncompressed.

Python's zipfile reads what an entry says it is; here nothing may be larger than the file. Compressed entries (a
program of TorchScript has some) are never unpacked, entries may not overlap, and no name is there twice. So the
memory for all of them is at most the size of the file.

Source: PKWARE's APPNOTE 6.3.10, sections 4.3.7 (local header), 4.3.12 (directory) and 4.3.14 to 4.3.16 (its end).
"""

from __future__ import annotations

import os
import struct
import zlib
from typing import BinaryIO, NamedTuple

import numpy as np

from minidl.exchange.pickle_machine import UnreadableError

_END, _END64 = struct.Struct("<4s4H2IH"), struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")  # where _END64 is
_ENTRY, _LOCAL = struct.Struct("<4s6H3I5H2I"), struct.Struct("<4s5H3I2H")
_MOST_ENTRIES = 100_000
_IN_64_BITS = 0xFFFFFFFF  # a size that stands in the entry's extra field instead
_DAMAGED = "it is cut short or damaged: get it again"


class Entry(NamedTuple):
    """A file in the zip: its bytes begin after a header at `header`. `packed` says why they can't be read ("")."""

    name: str
    header: int
    size: int  # in the zip
    crc: int
    packed: str


class StoredZip:
    """The entries of a zip file by name."""

    def __init__(self, file: BinaryIO) -> None:
        """Raises UnreadableError if the zip isn't one that torch.save could have written."""
        self.file, self.size = file, os.fstat(file.fileno()).st_size
        start, length, count = self._directory()
        entries, at = self._at(start, length), 0
        self.entries: dict[str, Entry] = {}
        for _ in range(count):
            entry, at = _entry(entries, at)
            if entry.name in self.entries:
                raise UnreadableError(f"its entry {entry.name[:80]!r} is there twice")
            self.entries[entry.name] = entry
        if at != length:
            raise UnreadableError(_DAMAGED)
        end = start
        for entry in sorted(self.entries.values(), key=lambda e: -e.header):
            if entry.header + _LOCAL.size + len(entry.name.encode()) + entry.size > end:
                raise UnreadableError(f"its entry {entry.name[:80]!r} overlaps another")
            end = entry.header

    def read(self, name: str, most: int) -> np.ndarray:
        """The bytes of an entry (n,), `most` at most. A checksum of 0 isn't checked: torch can leave it out."""
        if name not in self.entries:
            raise UnreadableError(f"it has no entry {name[:80]!r}")
        _, header, size, crc, packed = self.entries[name]
        if packed:
            raise UnreadableError(f"its entry {name[:80]!r} is {packed}, which torch.save never does")
        if size > most:
            raise UnreadableError(f"its entry {name[:80]!r} has {size:,} bytes, not {most:,}")
        mark, *_, name_length, extra = _LOCAL.unpack(self._at(header, _LOCAL.size))
        if mark != b"PK\x03\x04" or self._at(header + _LOCAL.size, name_length) != name.encode():
            raise UnreadableError(_DAMAGED)
        content = read_bytes(self.file, header + _LOCAL.size + name_length + extra, size)
        if crc and zlib.crc32(content) != crc:
            raise UnreadableError(f"the checksum of its entry {name[:80]!r} is wrong: get it again")
        return content

    def _directory(self) -> tuple[int, int, int]:
        """Where the list of entries begins, its length in bytes, and how many they are."""
        end = self.size - _END.size
        mark, disk, first, here, count, length, start, comment = _END.unpack(self._at(end, _END.size))
        if mark != b"PK\x05\x06" or comment or disk != first or here != count:
            raise UnreadableError(_DAMAGED)
        if end >= _LOCATOR.size + _END64.size:
            locator, _, at, _ = _LOCATOR.unpack(self._at(end - _LOCATOR.size, _LOCATOR.size))
            if locator == b"PK\x06\x07":
                mark, *_, here, count, length, start = _END64.unpack(self._at(at, _END64.size))
                if mark != b"PK\x06\x06" or here != count:
                    raise UnreadableError(_DAMAGED)
        if start + length > end or count > _MOST_ENTRIES or count * _ENTRY.size > length:
            raise UnreadableError(_DAMAGED if count <= _MOST_ENTRIES else f"it has {count:,} entries")
        return start, length, count

    def _at(self, start: int, count: int) -> bytes:
        return read_bytes(self.file, start, count).tobytes()


def _entry(directory: bytes, at: int) -> tuple[Entry, int]:
    """The entry whose description begins at directory[at], and where it ends."""
    if at + _ENTRY.size > len(directory):
        raise UnreadableError(_DAMAGED)
    fields = _ENTRY.unpack_from(directory, at)
    mark, _, _, flags, method, _, _, crc, stored, size, names, extras, comments, _, _, _, header = fields
    name_at = at + _ENTRY.size
    extra_at, end = name_at + names, name_at + names + extras + comments
    if mark != b"PK\x01\x02" or end > len(directory):
        raise UnreadableError(_DAMAGED)
    try:
        name = directory[name_at:extra_at].decode()
    except UnicodeDecodeError:
        raise UnreadableError("a name in it isn't UTF-8") from None
    size, stored, header = _wide([size, stored, header], directory[extra_at : extra_at + extras])
    packed = "encrypted" if flags & 1 else "compressed" if method or stored != size else ""
    return Entry(name, header, stored, crc, packed), end


def _wide(numbers: list[int], extra: bytes) -> list[int]:
    """Sizes of a large file, which stand in the extra field 1, in this order."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            more = iter(struct.unpack_from(f"<{min(length, len(extra) - at - 4) // 8}Q", extra, at + 4))
            return [next(more, n) if n == _IN_64_BITS else n for n in numbers]
        at += 4 + length
    return numbers


def read_bytes(file: BinaryIO, start: int, count: int) -> np.ndarray:
    """`count` bytes of the file from `start` on; UnreadableError if they aren't there."""
    if start < 0 or count < 0 or start + count > os.fstat(file.fileno()).st_size:
        raise UnreadableError(_DAMAGED)
    content = np.empty(count, np.uint8)
    file.seek(start)
    if file.readinto(content) != count:
        raise UnreadableError(_DAMAGED)
    return content
