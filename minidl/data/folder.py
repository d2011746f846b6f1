"""Your own images in the layout `train/<class>/*.jpg`, optionally with `val/<class>/` and `test/`.

The classes are the folders' names in sorted order; the names are also their words. Images of any size become squares:
the central square, resized with the antialiased bilinear filter, like torchvision's Resize + CenterCrop. The images
of `test` may be in class folders too; they have labels if all of them are.
"""

from __future__ import annotations

from minidl.data.layout import EXTENSIONS, SPLITS
from minidl.data.source import Index, Source, outside
from minidl.text.calls import call


def scan_folder(source: Source) -> Index:
    """The classes, files and labels of `source`, and a line for each problem. It opens no image."""
    problems, unread = outside(source)
    classes = source.folders_in("train")
    labels = {name: label for label, name in enumerate(classes)}
    if len(classes) < 2:
        problems.append(f"{source.label('train')}: {len(classes)} class folders, at least two are needed")
    for extra in source.folders_in("val"):
        if extra not in labels:
            problems.append(f"{source.label(f'val/{extra}')}: train has no class {ascii(extra)}")

    splits: dict[str, list[tuple[str, int]]] = {split: [] for split in SPLITS}
    for name in sorted(source.files):
        split, *folders = name.split("/")
        if split not in SPLITS or not folders:
            continue
        file = folders.pop()
        label = labels.get(folders[0], -1) if len(folders) == 1 else -1
        if file.lower().endswith(EXTENSIONS) and (label >= 0 or (split == "test" and len(folders) < 2)):
            splits[split].append((name, label))
        else:
            unread.append(name)

    filled = {label for _, label in splits["train"]}
    deeper = {name.split("/")[1] for name in unread if name.startswith("train/")}
    for name in classes:
        if labels[name] not in filled and not source.is_closed(f"train/{name}"):
            others = f", only what isn't read: see {call('check-data')}" if name in deeper else ""
            problems.append(
                f"{source.label(f'train/{name}')}: the class is empty, no {' '.join(EXTENSIONS)} file{others}"
            )
    if source.folders_in("val") and not splits["val"]:
        problems.append(f"{source.label('val')}: no images in its class folders")
    return Index(classes, classes, {split: found for split, found in splits.items() if found}, problems, unread)
