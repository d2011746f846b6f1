"""Tiny ImageNet in its official layout: where everything is, and everything that can be wrong with it.

    wnids.txt                                one class id per line; their order is the order of the labels
    words.txt                                <wnid> TAB <synonyms>; the first one is the class's word
    train/<wnid>/images/*.JPEG
    val/images/*.JPEG, val/val_annotations.txt   <file> TAB <wnid> TAB <box>
    test/images/*.JPEG                       without labels; optional

Many programs read class folders only. So validation images are often sorted into val/<wnid>/, val/<wnid>/images/ or
val/images/<wnid>/, with or without val_annotations.txt, and the folders called images are often missing. All of that
can be read: the class of an image is its folder, or else its annotation.

Source: http://cs231n.stanford.edu (Stanford's course CS231n).
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict

from minidl.data.layout import ANNOTATIONS, EXTENSIONS, SPLITS
from minidl.data.limits import at_most
from minidl.data.source import Index, Source, outside
from minidl.errors import DataError

URL = "https://cs231n.stanford.edu/tiny-imagenet-200.zip"
PLAIN_URL = "http" + URL.removeprefix("https")  # where https can't be had; the checksum is the same
SHA256 = "6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821"
SIZE = 248_100_043  # bytes

_JPEG = (".jpeg", ".jpg")

Placed = tuple[str, str]  # an image and the class folder that it lies in, "" if none


def is_tiny_imagenet(source: Source) -> bool:
    """Whether `source` has, or tries to have, the official layout."""
    return "wnids.txt" in source.files or ANNOTATIONS in source.files


def scan_tiny_imagenet(source: Source) -> Index:
    """The classes, files and labels of `source`, and a line for each problem. It opens no image."""
    problems, unread = outside(source)
    classes = _read_wnids(source, problems)
    if not classes:  # nothing else would make sense
        return Index([], [], {}, problems, [])
    images = _images(source, problems, unread)
    splits = {
        "train": _scan_train(source, classes, images["train"], problems),
        "val": _scan_val(source, classes, images["val"], problems),
    }
    if images["test"]:
        splits["test"] = [(name, -1) for name, _ in images["test"]]
    return Index(classes, _read_words(source, classes), splits, problems, unread, exact_size=64)


def _images(source: Source, problems: list[str], unread: list[str]) -> dict[str, list[Placed]]:
    """The .JPEG files of each split, in natural order: val_2 before val_10."""
    images: dict[str, list[Placed]] = {split: [] for split in SPLITS}
    for name in sorted(source.files, key=_by_number):
        split, *folders = name.split("/")
        file = folders.pop() if folders else ""
        inner = [folder for folder in folders if folder != "images"]
        if split not in SPLITS or name == ANNOTATIONS or (split == "train" and file.endswith("_boxes.txt")):
            continue
        if file.lower().endswith(_JPEG) and len(folders) < 3 and len(inner) < 2:
            images[split].append((name, inner[0] if inner else ""))
        elif folders != inner or file.lower().endswith(EXTENSIONS):
            problems.append(f"{source.label(name)}: not a .JPEG file, remove it")
        else:
            unread.append(name)
    return images


def _by_number(name: str) -> tuple[int, str, str]:
    file = name.rpartition("/")[2]
    return len(file), file, name


def _scan_train(
    source: Source, classes: list[str], images: list[Placed], problems: list[str]
) -> list[tuple[str, int]]:
    if "train" not in source.folders:
        problems.append(f"{source.label('train')}: the folder is missing")
        return []
    found = {*source.folders_in("train")}
    for extra in sorted(found - {*classes}):
        problems.append(f"{source.label(f'train/{extra}')}: {ascii(extra)} is not a class of wnids.txt")
    by_class = defaultdict(list)
    for name, wnid in images:
        by_class[wnid].append(name)
    for name in by_class[""]:
        problems.append(f"{source.label(name)}: in no class's folder")
    for wnid in classes:
        folder = f"train/{wnid}/images" if f"train/{wnid}/images" in source.folders else f"train/{wnid}"
        if wnid not in found:
            problems.append(f"{source.label(folder)}: the folder is missing, though wnids.txt has the class")
        elif not by_class[wnid] and not source.is_closed(f"train/{wnid}"):
            problems.append(f"{source.label(folder)}: the class is empty, no .JPEG file")
    return [(name, label) for label, wnid in enumerate(classes) for name in by_class[wnid]]


def _scan_val(source: Source, classes: list[str], images: list[Placed], problems: list[str]) -> list[tuple[str, int]]:
    """The annotated images in the order of the annotations, then the others."""
    for folder in ("val", "val/images"):
        if folder not in source.folders and not images:
            problems.append(f"{source.label(folder)}: the folder is missing")
            return []
    annotated = ANNOTATIONS in source.files
    if not annotated and not any(wnid for _, wnid in images):
        problems.append(f"{source.label(ANNOTATIONS)}: the file is missing")
        return []
    first: dict[tuple[str, str], tuple[int, str]] = {}  # by file and class folder: the first such image
    by_file: dict[str, str] = {}  # the first image of this name in any folder
    for place, (name, folder) in enumerate(images):
        file = name.rpartition("/")[2]
        by_file.setdefault(file, name)
        first.setdefault((file, folder), (place, name))
    labels = {wnid: label for label, wnid in enumerate(classes)}
    val, done, elsewhere = [], set(), set()
    for number, line in enumerate(_lines(source, ANNOTATIONS) if annotated else (), 1):
        where = f"{source.label(ANNOTATIONS)} line {number}"
        file, wnid = (part.strip() for part in (line.split("\t") + [""])[:2])
        named = by_file.get(file)
        _, fit = min((first[key] for key in ((file, ""), (file, wnid)) if key in first), default=(0, None))
        if wnid not in labels:
            problems.append(f"{where}: {ascii(wnid)} is not a class of wnids.txt")
        elif not named:
            problems.append(f"{where}: {source.label(f'val/images/{file}')} is missing")
        elif fit is None:
            problems.append(f"{where}: {ascii(wnid)}, but {source.label(named)} is in another class's folder")
        elif fit in done:
            problems.append(f"{where}: {source.label(fit)} has an annotation already")
        else:
            val.append((fit, labels[wnid]))
        if fit is None:
            elsewhere.add(file)
        else:
            done.add(fit)
    for name, folder in images:
        if name in done or name.rpartition("/")[2] in elsewhere:
            continue
        if folder in labels:
            val.append((name, labels[folder]))
        elif folder:
            problems.append(f"{source.label(name)}: {ascii(folder)} is not a class of wnids.txt")
        else:
            problems.append(f"{source.label(name)}: no annotation in val_annotations.txt")
    if not val:
        problems.append(f"{source.label('val/images')}: no labelled image")
    return val


def _read_wnids(source: Source, problems: list[str]) -> list[str]:
    where = source.label("wnids.txt")
    if "wnids.txt" not in source.files:
        problems.append(f"{where}: the file is missing")
        return []
    classes = _lines(source, "wnids.txt")
    if len(classes) < 2:
        problems.append(f"{where}: {len(classes)} classes, at least two are needed")
    if len(classes) == 100:
        problems.append(f"{where}: 100 classes: this is the 100-class set of the same name, not Tiny ImageNet's 200")
    at_most(where, len(classes), source.limits.classes, "classes")
    at_most(where, max(map(len, classes), default=0), source.limits.name, "letters of a class's name")
    for wnid in sorted(wnid for wnid, times in Counter(classes).items() if times > 1):
        problems.append(f"{where}: class {ascii(wnid)} is there twice")
    return list(dict.fromkeys(classes))


def _read_words(source: Source, classes: list[str]) -> list[str]:
    """The first synonym of each class; its id if words.txt has none."""
    words = {}
    if "words.txt" in source.files:
        words = dict(line.split("\t", 1) for line in _lines(source, "words.txt") if "\t" in line)
    first = [words.get(wnid, wnid).split(",")[0].strip() for wnid in classes]
    at_most(source.label("words.txt"), max(map(len, first)), source.limits.name, "letters of a class's name")
    return first


def _lines(source: Source, name: str) -> list[str]:
    """The lines of a text in UTF-8 that aren't empty; with or without a BOM, with any line ends."""
    text = source.read(name, source.limits.text)
    try:
        if b"\0" in text:  # UTF-16, most likely
            raise UnicodeError
        lines = re.split("\r\n|\r|\n", text.decode("utf-8-sig"))
    except UnicodeError as error:
        raise DataError(f"{source.label(name)}: not a text file in UTF-8") from error
    at_most(source.label(name), len(lines), source.limits.lines, "lines")
    return [line.strip() for line in lines if line.strip()]
