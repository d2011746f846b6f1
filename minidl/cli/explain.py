"""The command `explain`: one page on which a gradient flows through a unit."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from minidl.cli.flags import add_data_flags, add_trained_flags, place, read_trained, whole
from minidl.cli.parser import Command, Parser
from minidl.cli.pictures import SPLITS, Pictures, make_folder, photo_name
from minidl.errors import DataError, UsageError
from minidl.models import build
from minidl.text.calls import call
from minidl.text.console import print_lines
from minidl.training.execution import one_blas_thread
from minidl.visual.subject import Subject

if TYPE_CHECKING:
    from minidl.explain.build import Looked


def explain(args: Namespace) -> int:
    """Makes a page that shows how a gradient flows through a unit, with every sum; a browser opens it offline."""
    from minidl.explain.build import make_page
    from minidl.explain.write import write_page

    subject = Subject(read_trained(args), build, data=args.data, whole=args.whole, split=args.split)
    pictures = None if _is_file(args.output) else Pictures(args, subject)
    with one_blas_thread():
        looked = _looked(args, subject)
        page = make_page(subject.model, looked, args.layer, args.unit, args.start, args.pretrained or subject.source)
    if pictures is None:
        path = make_folder(Path(args.output).parent) / Path(args.output).name
    else:
        image = args.image if _is_number(args.image) else photo_name(args.image)
        settings = {**pictures.changed("split", "start"), **pictures.which_data}
        path = pictures.file("html", "explain", page.layer, page.unit, f"image-{image}", **settings)
    path = write_page(page, path)
    print_lines(f"wrote {path}: open it in a browser")
    return 0


def _looked(args: Namespace, subject: Subject) -> Looked:
    """The image, and after it the first others of the split, as a small batch."""
    from minidl.explain.build import BATCH, Looked

    if _is_number(args.image):
        first = subject.position(int(args.image))
        others = [i for i in range(min(BATCH, len(subject.split))) if i != first][: BATCH - 1]
        positions = np.array([first, *others])
        pictures, labels = subject.pictures(positions), subject.labels(positions)
        name = f"image {first} of {args.split}"
    else:
        pictures, labels = subject.photo(args.image)[None], np.array([-1])
        name = Path(args.image).name
        try:
            positions = np.arange(min(BATCH - 1, len(subject.split)))
            pictures = np.concatenate([pictures, subject.pictures(positions)])
            labels = np.concatenate([labels, subject.labels(positions)])
        except (DataError, UsageError):
            if args.data is not None:  # or else the data set isn't there: a photo alone makes a page too
                raise
    return Looked(subject.normalised(pictures), pictures[0], labels, subject.names, name)


def _is_number(text: str) -> bool:
    return text.removeprefix("-").isdecimal()


def _is_file(output: str | None) -> bool:
    """Whether --output is a page, not a folder. Raises UsageError for any other file, such as a checkpoint."""
    if output is None or output.endswith("/") or Path(output).is_dir():
        return False
    if Path(output).suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"--output {output}: a page is an .html file, so name it so (a new folder ends with /)")
    return True


def _add_flags(parser: Parser) -> None:
    add_trained_flags(parser)
    add_data_flags(parser)
    parser.add_argument("--split", default="val", choices=SPLITS, help="part of the data set (default val)")
    parser.add_argument("--image", default="0", metavar="I", help="number in the split, or a photo (default 0)")
    layer = f"such as inception2.b3 (default: one in the middle; see `{call('layers')}`)"
    parser.add_argument("--layer", help=layer)
    parser.add_argument("--unit", type=whole, metavar="U", help="such as 3 (default: the one that responds most)")
    start = "where the way back begins: at the loss of the image, or at the unit's own maximum (default loss)"
    parser.add_argument("--start", default="loss", choices=("loss", "unit"), help=start)
    parser.add_argument("--output", type=place, metavar="FILE", help="the page (default: in figures/ of the run)")


EXPLAIN = Command(explain, _add_flags)
