"""How a good file becomes a hostile one: by its bytes, its lines, its JSON, its entries or its table cells.

Each takes a generator, the file and the other good files. It may raise anything where an earlier change has left
nothing that it understands; then `any_bytes` takes its place (`targets.Target.change`).
"""

from __future__ import annotations

import io
import json
import pickletools
import random
import re
import sqlite3
import struct
import tarfile
import tempfile
import zipfile
import zlib
from contextlib import closing
from pathlib import Path
from typing import Any

MOST = 4 * 2**20  # bytes of an input
NUMBERS = (
    0,
    1,
    -1,
    2,
    127,
    128,
    255,
    256,
    32767,
    65535,
    65536,
    2**31 - 1,
    2**31,
    2**32 - 1,
    2**53 + 1,
    2**63,
    10**40,
)
TEXTS = (
    *(
        "",
        " ",
        "a\nb",
        "\x1b]0;owned\x07",
        "\u202egpj",
        "=1+1",
        "\x00",
        "\udce9",
        "é" * 300,
        "x" * 5000,
        "..",
        ".",
        "~",
    ),
    *("../../up", "C:\\up", "a/b", "-1", "nan", "1e999", "0", "None", "__class__", "convnet", "cat", "train", "val"),
    *("train/" * 60 + "x", "con", "a\\b", "$x_1$", "<script>", "%s%n", "{0}", "n00000001", "9" * 5000),
)
VALUES: tuple[Any, ...] = (
    *(None, True, False, [], {}, [[]], {"a": {}}, 0.5, -0.0, 1e308, 1e-320, float("nan"), float("inf")),
    *([0] * 1000, ["a"] * 1000, [None], ["a", 1], {"": ""}),
)
_FUNCTIONS = (
    *("os system", "builtins eval", "__main__ Net", "torch FloatStorage", "torch HalfStorage", "torch BoolStorage"),
    *("torch BFloat16Storage", "torch._utils _rebuild_tensor_v2", "torch._utils _rebuild_tensor"),
    *("torch._utils _rebuild_parameter", "collections OrderedDict", "torch ComplexFloatStorage"),
)
SQL = (
    *['UPDATE "{table}" SET "{column}" = ?'] * 4,
    *('DELETE FROM "{table}"', 'DROP TABLE "{table}"', 'INSERT INTO "{table}" SELECT * FROM "{table}"'),
    *('ALTER TABLE "{table}" RENAME COLUMN "{column}" TO x', 'ALTER TABLE "{table}" RENAME TO "{table}_"'),
    'CREATE TRIGGER t AFTER INSERT ON "{table}" BEGIN DELETE FROM "{table}"; END',
)


def any_bytes(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """A few changes of bytes, whatever they mean."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        at = rng.randrange(len(out) + 1)
        span = min(rng.choice((1, 2, 4, 8, 64, 1024)), len(out) - at)
        match rng.randrange(9):
            case 0 if out:
                out[at % len(out)] ^= 1 << rng.randrange(8)
            case 1 if out:
                out[at % len(out)] = rng.randrange(256)
            case 2:  # a number that is on some edge
                size = rng.choice((1, 2, 4, 8))
                number = rng.choice(NUMBERS) % 2 ** (8 * size)
                out[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))
            case 3:
                del out[at : at + span]
            case 4:
                out[at:at] = out[at : at + span] * rng.choice((1, 2, 50))
            case 5:
                out[at:at] = rng.randbytes(rng.choice((1, 4, 100)))
            case 6:  # from another file
                other = rng.choice(others)
                start = rng.randrange(len(other) + 1)
                out[at : at + span] = other[start : start + rng.choice((4, 64, 4096))]
            case 7:
                del out[at:]
            case 8:  # one of the numbers in letters
                digits = list(re.finditer(rb"\d+", out[:100_000]))
                if digits:
                    found = rng.choice(digits)
                    out[found.start() : found.end()] = str(rng.choice(NUMBERS)).encode()
        del out[MOST:]
    return bytes(out)


def png(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """A PNG with one chunk changed, dropped or doubled, and right checksums."""
    chunks, at = [], 8
    while at + 8 <= len(data):
        length = struct.unpack(">I", data[at : at + 4])[0]
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    k = rng.randrange(len(chunks))
    kind, body = chunks[k]
    if rng.random() < 0.2:
        kind = rng.choice((b"IHDR", b"PLTE", b"iCCP", b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"acTL", b"IDAT", b"tRNS"))
    chunks[k : k + 1] = [(kind, any_bytes(rng, body, others))] * rng.choice((0, 1, 1, 1, 2))
    parts = [struct.pack(">I", len(b)) + k + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in chunks]
    return data[:8] + b"".join(parts)


def times(data: bytes) -> int:
    """How often something may be repeated in `data`; less in what has grown already."""
    return max(1, min(100, 50_000 // (len(data) + 1)))


def lines(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """A text with lines and fields changed."""
    rows, often = [row.split("\t") for row in data.decode("utf-8", "replace").split("\n")], times(data)
    for _ in range(rng.choice((1, 2, 4))):
        k = rng.randrange(len(rows))
        match rng.randrange(6):
            case 0:
                rows[k][rng.randrange(len(rows[k]))] = rng.choice((*TEXTS, *map(str, NUMBERS)))
            case 1:
                rows[k : k + 1] = [list(rows[k])] * rng.choice((0, 2, 10 * often))
            case 2:
                rows[k].append(rng.choice(TEXTS))
            case 3:
                rows[k], other = rows[rng.randrange(len(rows))], rows[k]
                rows[rng.randrange(len(rows))] = other
            case 4:
                rows[k] = ["\t".join(rows[k])] * rng.choice((2, often))
            case 5:
                rows += [[f"{text}{i}" for text in rows[k]] for i in range(rng.choice((1, 3 * often)))]
        rows = rows or [[""]]
    text = rng.choice(("\n", "\n", "\n", "\r\n", "\r", "\u2028")).join("\t".join(row) for row in rows)
    return text.encode(rng.choice(("utf-8", "utf-8", "utf-8", "utf-16")), "surrogatepass")[:MOST]


def value(rng: random.Random, old: Any, often: int) -> Any:
    """A JSON value with one place in it changed; a list may become `often` times as long."""
    if isinstance(old, dict | list) and old and rng.random() < 0.85:
        new = dict(old) if isinstance(old, dict) else list(old)
        key = rng.choice(list(new)) if isinstance(new, dict) else rng.randrange(len(new))
        match rng.randrange(8):
            case 0:
                del new[key]
            case 1 if isinstance(new, dict):
                new[rng.choice(TEXTS)] = new[key]
            case 1:
                new *= rng.choice((1, often))
            case _:
                new[key] = value(rng, new[key], often)
        return new
    if isinstance(old, int | float) and rng.random() < 0.5:
        return rng.choice((-old, old * 1e30, old + 1, float(old), rng.choice(NUMBERS), str(old)))
    if isinstance(old, str) and rng.random() < 0.5:
        return rng.choice(TEXTS)
    return rng.choice((*VALUES, *TEXTS, *NUMBERS))


def json_text(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """A JSON text with values changed; some are no JSON any more."""
    if rng.random() < 0.1:
        return any_bytes(rng, data, others)
    if rng.random() < 0.02:
        return b"[" * 100_000 + b"]" * rng.choice((0, 100_000))
    new = json.loads(data)
    for _ in range(rng.choice((1, 1, 2))):
        new = value(rng, new, times(data))
    return json.dumps(new).encode()[:MOST]


def safetensors(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """A checkpoint whose header is changed: arrays, their places, or what minidl says in it."""
    if rng.random() < 0.2:
        return any_bytes(rng, data, others)
    length = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    if "minidl" in header.get("__metadata__", {}) and rng.random() < 0.8:
        header["__metadata__"]["minidl"] = json_text(rng, header["__metadata__"]["minidl"].encode(), others).decode()
    else:
        header = value(rng, header, times(data))
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def archive(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """A zip or tar built anew with one entry renamed, doubled, emptied or made something else."""
    if rng.random() < 0.4:
        return any_bytes(rng, data, others)
    if data[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(data)) as old:
            entries = [(i.filename, old.read(i)) for i in old.infolist()]
    else:
        with tarfile.open(fileobj=io.BytesIO(data)) as old:
            entries = [(m.name, old.extractfile(m).read()) for m in old.getmembers() if m.isfile()]
    for _ in range(rng.choice((1, 2, 4))):
        k = rng.randrange(len(entries))
        name, content = entries[k]
        parts = name.split("/")
        parts[rng.randrange(len(parts))] = rng.choice(TEXTS)
        new = rng.choice(("/".join(parts), name + rng.choice(TEXTS), name.upper(), "/".join(parts[:-1]), "/" + name))
        entries[k : k + 1] = rng.choice(
            (
                [],
                [(new, content)],
                [(name, content), (new, b"")],
                [(name, b"")],
                [(name, any_bytes(rng, content, others))],
            )
        )
    out, kind = io.BytesIO(), rng.choice((0, 8, 12, 14)) if data[:2] == b"PK" else None
    if kind is not None:
        with zipfile.ZipFile(out, "w", kind) as new_zip:
            for name, content in entries:
                info = zipfile.ZipInfo(name.replace("\0", "").encode("utf-8", "replace").decode())
                info.compress_type = kind
                info.external_attr = (
                    rng.choice((0o100644, 0o120777, 0o010644, 0o040755)) << 16 if rng.random() < 0.1 else 0
                )
                new_zip.writestr(info, content)
        return out.getvalue()[:MOST]
    with tarfile.open(fileobj=out, mode=rng.choice(("w", "w:gz", "w:bz2", "w:xz"))) as new_tar:
        for name, content in entries:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if rng.random() < 0.05:
                info.type = rng.choice(
                    (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE)
                )
                info.linkname, info.size, content = rng.choice(TEXTS), 0, b""
            new_tar.addfile(info, io.BytesIO(content))
    return out.getvalue()[:MOST]


def torch_file(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """A file of torch.save with opcodes, entries or numbers changed; its checksums are right."""
    if rng.random() < 0.15:
        return any_bytes(rng, data, others)
    if data[:2] == b"PK":
        return _torch_zip(rng, data, others)
    pickles, at = [], 0
    for _ in range(5):
        end = at + _pickle_length(data[at:])
        pickles.append(data[at:end])
        at = end
    k = rng.choice((3, 3, 3, 3, 4, 4, 2, 1, 0))
    pickles[k] = opcodes(rng, pickles[k], others)
    storages = any_bytes(rng, data[at:], others) if rng.random() < 0.1 else data[at:]
    return (b"".join(pickles) + storages)[:MOST]


def _torch_zip(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    with zipfile.ZipFile(io.BytesIO(data)) as old:
        entries = [(i.filename, old.read(i)) for i in old.infolist()]
    k = next(k for k, (name, _) in enumerate(entries) if name.endswith("data.pkl"))
    if rng.random() < 0.2:
        k = rng.randrange(len(entries))
    name, content = entries[k]
    new = opcodes(rng, content, others) if name.endswith("data.pkl") else any_bytes(rng, content, others)
    renamed = name.replace(name.split("/")[-1], rng.choice(("data.pkl", "0", "1", "byteorder", "constants.pkl")))
    changed = [(name, new)]
    if rng.random() < 0.1:
        changed = rng.choice(
            ([], [(renamed, new)], [(name, new), (name, content)], [(name, content), (renamed, new)])
        )
    entries[k : k + 1] = changed
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", 8 if rng.random() < 0.03 else 0) as file:
        for name, content in entries:
            file.writestr(name.encode("utf-8", "replace").decode(), content)
    return out.getvalue()[:MOST]


def _pickle_length(data: bytes) -> int:
    return next(at for opcode, _, at in pickletools.genops(data) if opcode.name == "STOP") + 1


def opcodes(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """A pickle with opcodes dropped, doubled, exchanged, added or given other arguments."""
    if rng.random() < 0.1:
        return any_bytes(rng, data, others)
    starts = [at for _, _, at in pickletools.genops(data)]
    parts = [data[a:b] for a, b in zip(starts, [*starts[1:], None], strict=True)]
    for _ in range(rng.choice((1, 1, 2, 4))):
        k, other = rng.randrange(len(parts)), rng.randrange(len(parts))
        part = parts[k]
        parts[k : k + 1] = rng.choice(
            (
                *([], [part] * 2, [part] * rng.choice((10, times(data))), [parts[other]], [part, parts[other]]),
                *([_opcode(rng), part], [part, _opcode(rng)], [_opcode(rng)], [part[:1] + _argument(rng)]),
                *([part[:1] + _argument(rng, len(part) - 1)], parts[min(k, other) : max(k, other)]),
            )
        )
        parts = parts or [b"."]
    return b"".join(parts)


def _opcode(rng: random.Random) -> bytes:
    """Any opcode, with an argument that may be right."""
    code = rng.choice(pickletools.opcodes)
    name = code.arg.name if code.arg else ""
    if name in ("string1", "unicodestring1", "bytes1", "long1"):
        text = rng.choice(TEXTS).encode("utf-8", "replace")[:255]
        return code.code.encode("latin-1") + bytes([len(text)]) + text
    if name == "stringnl_noescape_pair":
        function = rng.choice(_FUNCTIONS)
        return b"c" + function.replace(" ", "\n").encode() + b"\n"
    lengths = {"uint1": 1, "uint2": 2, "int4": 4, "uint4": 4, "uint8": 8, "float8": 8}
    return code.code.encode("latin-1") + (_argument(rng, lengths[name]) if name in lengths else b"")


def _argument(rng: random.Random, size: int | None = None) -> bytes:
    size = rng.choice((1, 2, 4, 8)) if size is None else size
    return (rng.choice(NUMBERS) % 2 ** (8 * size)).to_bytes(size, "little") if size else b""


def database(rng: random.Random, data: bytes, others: list[bytes]) -> bytes:
    """An SQLite file with cells, tables, triggers or views changed, or its bytes."""
    if rng.random() < 0.3:
        return any_bytes(rng, data, others)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "study.db"
        path.write_bytes(data)
        with closing(sqlite3.connect(path)) as connection:
            names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            for _ in range(rng.choice((1, 2, 3))):
                table = rng.choice(names)
                column = rng.choice([row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')])
                cells = (None, *NUMBERS[:-2], 0.5, 1e308, float("inf"), *TEXTS, b"\x00\xff", "x" * 100_000)
                connection.execute("PRAGMA ignore_check_constraints = 1")
                sql = rng.choice(SQL).format(table=table, column=column)
                connection.execute(sql, (rng.choice(cells),) * sql.count("?"))
            connection.commit()
        return path.read_bytes()[:MOST]
