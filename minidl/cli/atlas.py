"""The command `atlas`: every unit of a network, in a folder that opens with a double-click."""

from __future__ import annotations

import re
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from minidl.cli.flags import add_trained_flags, add_use_flags, changed_flags, count, execution, place
from minidl.cli.parser import Command, Parser
from minidl.cli.pictures import SPLITS, read_subject, which_checkpoint, which_data
from minidl.errors import DataError
from minidl.layers import Layer
from minidl.models import build
from minidl.text.console import print_lines, warn
from minidl.training.checkpoints import load_checkpoint
from minidl.training.runs import find_checkpoint
from minidl.visual.file_names import file_name
from minidl.visual.subject import Subject
from minidl.visual.taps import NORMS

if TYPE_CHECKING:
    from minidl.atlas.versions import State
    from minidl.atlas.viewed import Viewed

SNAPSHOTS = 8  # each takes a pass over all images, and a picture of each unit's nine


def atlas(args: Namespace) -> int:
    """Makes a folder of pages about every unit, class and image; a browser opens it without a server."""
    from minidl.atlas.build import Settings, make_atlas
    from minidl.atlas.viewed import of_subject

    subject = read_subject(args)
    viewed = of_subject(subject, build)
    layers = tuple(part.strip() for part in (args.layers or "").split(",") if part.strip())
    settings = Settings(layers, args.units or 0, not args.no_projections, args.norm)
    try:
        page = make_atlas(
            viewed, _output(args, subject), settings, snapshots=_snapshots(subject), other=_other(args, viewed)
        )
    except KeyboardInterrupt:
        warn("interrupted: the same command goes on from here")
        raise
    print_lines(f"wrote {page}: open it in a browser")
    return 0


def _output(args: Namespace, subject: Subject) -> Path:
    """--output, or atlas/ in the run, or atlas-NAME in the working directory. The name says which checkpoint and
    images are shown, if not the usual ones: no atlas replaces that of others.
    """
    if args.output is not None:
        return Path(args.output)
    run, path = None if args.pretrained else subject.run, subject.checkpoint.path
    other = {
        **which_checkpoint(args, path, run), **changed_flags(args, "split"), **which_data(args, subject.checkpoint)
    }  # fmt: skip
    return (run or Path()) / file_name(["atlas", None if run else args.pretrained or path.stem], other)


def _other(args: Namespace, viewed: Viewed) -> Viewed | None:
    """The network of --compare, with the images of `viewed`."""
    from minidl.atlas.viewed import of_subject

    if args.compare is None:
        return None
    return of_subject(
        Subject(load_checkpoint(find_checkpoint(args.compare)), build, execution=execution(args)), build, viewed
    )


def _snapshots(subject: Subject) -> list[State]:
    """At most SNAPSHOTS snapshots of the run, at equal distances, from before the epoch that the atlas shows.

    So the slider through them goes forward in time up to the atlas's own network. One that can't be read is left out,
    with a word.
    """
    from minidl.atlas.versions import State

    state, paths, found = subject.checkpoint.state, {}, []
    for path in (subject.run / "checkpoints").glob("epoch-*.safetensors") if subject.run else []:
        number = re.fullmatch("epoch-([0-9]{3,6})", path.stem)
        if number and int(number[1]) < state.epoch:
            paths[int(number[1])] = path
    top1 = {row["epoch"]: row["val_top1"] for row in state.history}
    epochs, most = sorted(paths), min(len(paths), SNAPSHOTS)
    for epoch in (epochs[round(i * (len(epochs) - 1) / max(most - 1, 1))] for i in range(most)):
        try:
            _model(paths[epoch])
        except DataError as error:
            warn(f"left out: {error}")
            continue
        found.append(State(epoch, top1.get(epoch), partial(_model, paths[epoch])))
    return found


def _model(path: Path) -> Layer:
    return load_checkpoint(path).build(build)


def _add_flags(parser: Parser) -> None:
    add_trained_flags(parser)
    add_use_flags(parser)
    parser.add_argument("--split", default="val", choices=SPLITS, help="part of the data set (default val)")
    output = "the folder to write (default: atlas/ in the run)"
    parser.add_argument("--output", type=place, metavar="DIR", help=output)
    layers = "names with commas, such as stem,inception2.b5 or inception2 for its branches (default: all with units)"
    parser.add_argument("--layers", help=layers)
    units = "draw only the N most selective units of each layer (default: all)"
    parser.add_argument("--units", type=count, metavar="N", help=units)
    parser.add_argument("--norm", default="l2", choices=NORMS, help="by which images are ranked (default l2)")
    compare = "put the units of another run beside those that respond to the same images"
    parser.add_argument("--compare", metavar="RUN2", help=compare)
    parser.add_argument(
        "--no-projections", action="store_true", help="images and numbers only, which takes less time"
    )


ATLAS = Command(atlas, _add_flags)
