"""How a user names classes, the same in every command: by id, by position, or by name."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Callable, Sequence

from minidl.errors import UsageError, printable

_NUMBER = r"[0-9]{1,9}"


def find_class(text: str, classes: Sequence[str], words: Sequence[str]) -> int:
    """The position of the class that `text` names: by its id, its position, or one of its names (upper or lower
    case).

    If some ids are numbers (folders such as 0, 1, 10), a number is always an id and never a position. Raises
    UsageError with the nearest names if `text` names no class, or several.
    """
    return _finder(classes, words)(text)


def _finder(classes: Sequence[str], words: Sequence[str]) -> Callable[[str], int]:
    """`find_class` for many texts: a table of all names is made once."""
    ids = {c: k for k, c in reversed(list(enumerate(classes)))}
    numbered = {int(c): k for k, c in enumerate(classes) if re.fullmatch(_NUMBER, c)}
    places = numbered or range(len(classes))
    names: dict[str, list[int]] = {}
    for c, synonyms in enumerate(words):
        for name in {*map(_folded, (synonyms, *synonyms.split(",")))}:
            names.setdefault(name, []).append(c)

    def find(text: str) -> int:
        text = text.strip()
        if text in ids:
            return ids[text]
        if re.fullmatch(_NUMBER, text) and int(text) in places:
            return places[int(text)]
        found = names.get(_folded(text), [])
        if len(found) == 1:
            return found[0]
        if found:
            raise UsageError(
                f"class {text!r}: several have this name, give one of {', '.join(classes[c] for c in found)}"
            )
        near = difflib.get_close_matches(_folded(text), names, n=3) or list(names)[:3]
        number = "" if numbered else f"a position from 0 to {len(classes) - 1}, "
        raise UsageError(
            f"class {text!r}: give {number}an id such as {classes[0]}, or a name such as {', '.join(near)}"
        )

    return find


def _folded(name: str) -> str:
    """`name` in lower case, and an accent in one character with its letter: macOS writes two into names of files."""
    return unicodedata.normalize("NFC", name.lower().strip())


def find_classes(text: str, classes: Sequence[str], words: Sequence[str]) -> list[int]:
    """The positions in a list with commas, in its order, without repetitions; 3-5 means 3,4,5."""
    if not isinstance(text, str):
        raise UsageError(f"classes {text!r:.60}: give a text with commas, such as {','.join(classes[:2])!r}")
    chosen: list[int] = []
    find, known = _finder(classes, words), set(classes)
    for piece in map(str.strip, text.split(",")):
        span = re.fullmatch(f"({_NUMBER})-({_NUMBER})", piece)
        if span and piece not in known:
            first, last = map(int, span.groups())
            if first > last:
                raise UsageError(f"classes {piece}: the lower end comes first")
            chosen += [find(str(number)) for number in range(first, last + 1)]
        else:
            chosen.append(find(piece))
    return list(dict.fromkeys(chosen))


def class_names(classes: Sequence[str], words: Sequence[str]) -> list[str]:
    """Id and word of each class for the screen; only one of them if they are the same."""
    return [printable(c if c == w else f"{c} {w}") for c, w in zip(classes, words, strict=True)]
