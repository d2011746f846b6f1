"""Tiny ImageNet in its official layout: what is where, and everything that can be wrong with it.

    wnids.txt                                one class id a line; their order is the order of the labels
    words.txt                                <wnid> TAB <synonyms>; the first one is the class's word
    train/<wnid>/images/*.JPEG
    val/images/*.JPEG, val/val_annotations.txt   <file> TAB <wnid> TAB <box>
    test/images/*.JPEG                       without labels; may be left out

Source: http://cs231n.stanford.edu (Stanford's course CS231n).
"""

from __future__ import annotations

from collections import defaultdict

from minidl.data.source import Index, Source
from minidl.errors import DataError

URL = "http://cs231n.stanford.edu/tiny-imagenet-200.zip"
MD5 = "90528d7ca1a48142e341f4ef8d21d0de"
SIZE = 248_100_043  # bytes

_JPEG = (".jpeg", ".jpg")


def is_tiny_imagenet(source: Source) -> bool:
    """Whether `source` has, or tries to have, the official layout."""
    return "wnids.txt" in source.files or "val/val_annotations.txt" in source.files


def scan_tiny_imagenet(source: Source) -> Index:
    """Classes, files and labels of `source`, and a line for each problem; opens no image."""
    problems: list[str] = []
    classes = _read_wnids(source, problems)
    by_folder = defaultdict(list)
    for name in source.files:
        by_folder[name.rpartition("/")[0]].append(name)

    def images(folder: str) -> list[str]:
        names = sorted(by_folder.get(folder, ()), key=lambda name: (len(name), name))  # val_2 before val_10
        others = [name for name in names if not name.lower().endswith(_JPEG)]
        problems.extend(f"{source.label(name)}: not a .JPEG file, remove it" for name in others)
        return [name for name in names if name.lower().endswith(_JPEG)]

    train = _scan_train(source, classes, images, problems)
    val = _scan_val(source, classes, images, problems)
    splits = {"train": train, "val": val}
    if test := images("test/images"):
        splits["test"] = [(name, -1) for name in test]
    return Index(classes, _read_words(source, classes), splits, problems, exact_size=64)


def _scan_train(source, classes, images, problems) -> list[tuple[str, int]]:
    if "train" not in source.folders:
        problems.append(f"{source.label('train')}: the folder is missing")
        return []
    found = {name.split("/")[1] for name in source.folders if name.count("/") == 1 and name.startswith("train/")}
    for extra in sorted(found - set(classes)):
        problems.append(f"{source.label(f'train/{extra}')}: {ascii(extra)} is not a class of wnids.txt")
    train = []
    for label, wnid in enumerate(classes):
        names = images(folder := f"train/{wnid}/images")
        if wnid not in found:
            problems.append(f"{source.label(f'train/{wnid}')}: the folder is missing, though wnids.txt has the class")
        elif not names:
            problems.append(f"{source.label(folder)}: the class is empty, no .JPEG file")
        train += [(name, label) for name in names]
    return train


def _scan_val(source, classes, images, problems) -> list[tuple[str, int]]:
    name = "val/val_annotations.txt"
    for folder in ("val", "val/images"):
        if folder not in source.folders:
            problems.append(f"{source.label(folder)}: the folder is missing")
            return []
    if name not in source.files:
        problems.append(f"{source.label(name)}: the file is missing")
        return []
    unlabelled = dict.fromkeys(images("val/images"))
    labels = {wnid: label for label, wnid in enumerate(classes)}
    val = []
    for number, line in enumerate(_lines(source, name), 1):
        where = f"{source.label(name)} line {number}"
        file, wnid = (line.split("\t") + [""])[:2]
        file = f"val/images/{file}"
        if wnid not in labels:
            problems.append(f"{where}: {ascii(wnid)} is not a class of wnids.txt")
        elif file not in source.files:
            problems.append(f"{where}: {source.label(file)} is missing")
        elif file not in unlabelled:
            problems.append(f"{where}: {source.label(file)} has an annotation already")
        else:
            val.append((file, labels[wnid]))
        unlabelled.pop(file, None)
    problems.extend(f"{source.label(file)}: no annotation in val_annotations.txt" for file in unlabelled)
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
    for wnid in sorted({wnid for wnid in classes if classes.count(wnid) > 1}):
        problems.append(f"{where}: class {ascii(wnid)} is there twice")
    return list(dict.fromkeys(classes))


def _read_words(source: Source, classes: list[str]) -> list[str]:
    """The first synonym of each class; its id where words.txt has none."""
    words = {}
    if "words.txt" in source.files:
        words = dict(line.split("\t", 1) for line in _lines(source, "words.txt") if "\t" in line)
    return [words.get(wnid, wnid).split(",")[0].strip() for wnid in classes]


def _lines(source: Source, name: str) -> list[str]:
    try:
        lines = source.read(name).decode().splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{source.label(name)}: not a text file in UTF-8") from error
    return [line.strip() for line in lines if line.strip()]
