"""Writes the files of an atlas that a browser reads."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import asdict, is_dataclass
from importlib.resources import as_file, files
from itertools import count, islice
from pathlib import Path
from typing import Any

import numpy as np

from minidl.atlas.records import ALPHABET, PER_CHUNK
from minidl.storage.files import atomic
from minidl.storage.metadata import to_json

STEPS = 15  # of an activity


def put(folder: Path, name: str, record: Any) -> None:
    """Writes data/<name>.js, which gives the record to the page.

    The texts in it are a stranger's. JSON in ASCII has nothing in it that ends a string or a script.
    """
    plain = [asdict(r) if is_dataclass(r) else r for r in record] if isinstance(record, list) else asdict(record)
    with atomic(folder / "data" / f"{name}.js") as temporary:
        temporary.write_text(f'atlas.put("{name}", {to_json(plain)});\n', encoding="ascii")


def put_chunks(folder: Path, name: str, records: Iterable[Any], on_chunk: Callable[[int], None]) -> None:
    """Writes the records in chunks of PER_CHUNK, and calls `on_chunk` with the number of records in each."""
    left = iter(records)
    for number in count():
        if not (chunk := list(islice(left, PER_CHUNK))):
            return
        put(folder, f"{name}-{number:03}", chunk)
        on_chunk(len(chunk))


def add_page(folder: Path) -> None:
    """Copies the page into the atlas: index.html, and all else in page/."""
    with as_file(files("minidl.atlas") / "page") as page:
        (folder / "page").mkdir(exist_ok=True)
        for path in page.iterdir():
            if path.suffix in (".html", ".css", ".js", ".svg"):
                target = folder / path.name if path.name == "index.html" else folder / "page" / path.name
                shutil.copyfile(path, target)


def activity(norms: np.ndarray) -> str:
    """The norms of a unit over all images as text (see records.ActivityRecord)."""
    largest = float(norms.max())
    shares = np.maximum(norms, 0) / largest if largest > 0 else np.zeros(len(norms))
    steps = np.rint(STEPS * np.sqrt(shares)).astype(int)
    steps = np.pad(steps, (0, -len(steps) % 3)).reshape(-1, 3)  # (images,) -> (n, 3)
    words = steps @ [256, 16, 1]
    letters = np.frombuffer(ALPHABET.encode(), np.uint8)
    return letters[np.stack([words // 64, words % 64], axis=1).ravel()].tobytes().decode()
