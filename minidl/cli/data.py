"""The commands `show-batch`, `check-data`, `download` and `export-shapes`: data sets."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from minidl.cli.flags import add_config_flags, add_preset_flag, count, given_settings, pixels, place, seed64
from minidl.cli.parser import Command, Parser
from minidl.data import check_data, denormalise, download, tiny_imagenet
from minidl.data.export import export_tiny_imagenet_layout
from minidl.data.shapes import load_shapes
from minidl.data.web import file_name
from minidl.errors import DataError, UsageError
from minidl.text.calls import call, quoted
from minidl.text.console import print_lines
from minidl.text.plural import counted
from minidl.training import run_data
from minidl.training.batches import train_loader
from minidl.training.config import make_config


def show_batch(args: Namespace) -> int:
    """Writes a picture of the first training batch as the network sees it."""
    from minidl.visual.canvas import check_picture
    from minidl.visual.figures import save_batch

    picture = Path(args.picture)
    check_picture(picture)
    config = make_config(args.preset or "quick", given_settings(args))
    if args.epoch > config.epochs:
        raise UsageError(f"--epoch {args.epoch}: the training has {counted(config.epochs, 'epoch')} (--epochs)")
    data = run_data.load_data(config)
    loader = train_loader(config, data)
    x, y = next(iter(loader.epoch(args.epoch - 1)))
    title = f"{data.dataset.name}, epoch {args.epoch}, augment {config.augment}, seed {config.seed}"
    save_batch(picture, denormalise(x, data.mean, data.std), [data.dataset.words[c] for c in y], title)
    print_lines(f"wrote {picture}")
    return 0


def check(args: Namespace) -> int:
    """Reads every image of a data set, lists everything that is wrong with it and prints its counts."""
    report = check_data(args.folder, image_size=args.image_size)
    print_lines(*report.lines())
    return 0 if report.ok else DataError.exit_code


def download_data(args: Namespace) -> int:
    """Downloads Tiny ImageNet (237 MB); continues where an earlier attempt stopped."""
    official = args.url == tiny_imagenet.URL
    sha256 = tiny_imagenet.SHA256 if official and args.sha256 is None else args.sha256
    unchecked = (args.md5, sha256) == (None, None) and (Path(args.folder) / file_name(args.url)).exists()
    path = download(
        (tiny_imagenet.URL, tiny_imagenet.PLAIN_URL) if official else args.url,
        args.folder,
        md5=args.md5,
        sha256=sha256,
        size=tiny_imagenet.SIZE if official else None,
    )
    what = "was there already, and nothing says whether it is complete (--sha256)" if unchecked else "is complete"
    print_lines(f"{path} {what}; train on it with: {call('train')} --data {quoted(path)}")
    return 0


def export_shapes(args: Namespace) -> int:
    """Writes the data set `shapes` in the official Tiny ImageNet layout."""
    export_tiny_imagenet_layout(load_shapes(args.train, args.val, args.seed), Path(args.folder))
    print_lines(f"wrote {args.train:,} train and {args.val:,} val images to {args.folder}")
    return 0


def _add_show_batch_flags(parser: Parser) -> None:
    add_preset_flag(parser)
    add_config_flags(parser)
    parser.add_argument("--epoch", type=count, default=1, help="which epoch's first batch (default 1)")
    picture = "what to write (default batch.png)"
    parser.add_argument("--picture", type=place, default="batch.png", metavar="FILE", help=picture)


def _add_check_flags(parser: Parser) -> None:
    parser.add_argument("folder", metavar="DATA", help="a Tiny ImageNet zip or folder, or a folder of images")
    parser.add_argument("--image-size", type=pixels, default=64, help="size that training resizes to (default 64)")


def _add_download_flags(parser: Parser) -> None:
    parser.add_argument("folder", type=place, nargs="?", default=".", metavar="DIR", help="where to (default: here)")
    parser.add_argument("--url", default=tiny_imagenet.URL, help="another address (default %(default)s)")
    parser.add_argument("--md5", metavar="HEX", help="checksum of the file at another address")
    parser.add_argument("--sha256", metavar="HEX", help="the same, by a better method")


def _add_export_shapes_flags(parser: Parser) -> None:
    parser.add_argument("folder", type=place, metavar="DIR", help="a new or empty folder")
    parser.add_argument("--train", type=count, default=4000, help="training images (default 4000)")
    parser.add_argument("--val", type=count, default=1000, help="validation images (default 1000)")
    parser.add_argument("--seed", type=seed64, default=0, help="which images (default 0)")


SHOW_BATCH = Command(show_batch, _add_show_batch_flags)
CHECK_DATA = Command(check, _add_check_flags)
DOWNLOAD = Command(download_data, _add_download_flags)
EXPORT_SHAPES = Command(export_shapes, _add_export_shapes_flags)
