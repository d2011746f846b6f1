"""Any set of images in the layout `train/<class>/*.jpg`, with `val/<class>/` and `test/` if there are any.

Classes are the folders' names in sorted order, and are their own words. Images of any size become squares: the
central square, resized with the antialiased bilinear filter, which is torchvision's Resize + CenterCrop.
"""

from __future__ import annotations

from minidl.data.source import Index, Source

EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")


def scan_folder(source: Source) -> Index:
    """Classes, files and labels of `source`, and a line for each problem; opens no image."""
    problems = []
    children = {"train": set(), "val": set()}
    for folder in source.folders:
        split, _, name = folder.partition("/")
        if split in children and name and "/" not in name:
            children[split].add(name)
    classes = sorted(children["train"])
    if len(classes) < 2:
        problems.append(f"{source.label('train')}: {len(classes)} class folders, at least two are needed")
    for extra in sorted(children["val"] - set(classes)):
        problems.append(f"{source.label(f'val/{extra}')}: train has no class {ascii(extra)}")

    images = sorted(name for name in source.files if name.lower().endswith(EXTENSIONS))
    labels = {name: label for label, name in enumerate(classes)}
    splits: dict[str, list[tuple[str, int]]] = {"train": [], "val": [], "test": []}
    for image in images:
        split, *middle, _ = image.split("/")
        if split == "test":
            splits[split].append((image, -1))
        elif split in splits and len(middle) == 1 and middle[0] in labels:
            splits[split].append((image, labels[middle[0]]))
    filled = {label for _, label in splits["train"]}
    for name in classes:
        if labels[name] not in filled:
            problems.append(f"{source.label(f'train/{name}')}: the class is empty, no {' '.join(EXTENSIONS)} file")
    if children["val"] and not splits["val"]:
        problems.append(f"{source.label('val')}: no images in its class folders")
    return Index(classes, classes, {split: found for split, found in splits.items() if found}, problems)
