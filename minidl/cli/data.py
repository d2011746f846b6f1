"""`train.py show-batch`, `check-data`, `download` and `export-shapes`: the data before the network."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from minidl.cli.common import given
from minidl.data import check_data, denormalise, download, tiny_imagenet
from minidl.data.export import export_tiny_imagenet_layout
from minidl.data.shapes import load_shapes
from minidl.errors import DataError
from minidl.text.console import print_lines
from minidl.training import session
from minidl.training.config import make_config


def show_batch(args: Namespace) -> int:
    """Writes a picture of the first training batch as the network sees it."""
    from minidl.visual.canvas import check_picture
    from minidl.visual.figures import save_batch

    picture = Path(args.picture)
    check_picture(picture)
    config = make_config(args.preset or "quick", given(args))
    data = session.load_data(config)
    loader = session.train_loader(config, data)
    x, y = next(iter(loader.epoch(args.epoch)))
    title = f"{data.dataset.name}, epoch {args.epoch}, augment {config.augment}, seed {config.seed}"
    save_batch(picture, denormalise(x, data.mean, data.std), [data.dataset.words[c] for c in y], title)
    print_lines(f"wrote {picture}")
    return 0


def check(args: Namespace) -> int:
    """Reads every image of a data set, lists all that is wrong with it and prints its counts."""
    report = check_data(args.folder, image_size=args.image_size)
    print_lines(*report.lines())
    return 0 if report.ok else DataError.exit_code


def download_data(args: Namespace) -> int:
    """Downloads Tiny ImageNet (237 MB), going on where an earlier attempt stopped."""
    official = args.url == tiny_imagenet.URL
    path = download(
        (tiny_imagenet.URL, tiny_imagenet.PLAIN_URL) if official else args.url,
        args.folder,
        md5=args.md5,
        sha256=args.sha256 or (tiny_imagenet.SHA256 if official else None),
        size=tiny_imagenet.SIZE if official else None,
    )
    print_lines(f"{path} is complete; train on it with: python train.py --data {path}")
    return 0


def export_shapes(args: Namespace) -> int:
    """Writes the data set `shapes` in the official Tiny ImageNet layout."""
    export_tiny_imagenet_layout(load_shapes(args.train, args.val, args.seed), Path(args.folder))
    print_lines(f"wrote {args.train:,} train and {args.val:,} val images to {args.folder}")
    return 0
