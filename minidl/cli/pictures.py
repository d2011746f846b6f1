"""What all drawing commands share: their network, and the place and names of their pictures."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minidl.cli.flags import add_trained_flags, add_use_flags, changed_flags, execution, place, read_trained
from minidl.cli.parser import Parser
from minidl.data.naming import stem
from minidl.errors import DataError, UsageError
from minidl.models import build
from minidl.parallel.communicator import ALONE, Communicator
from minidl.storage.files import atomic, own_folder
from minidl.text.console import print_lines
from minidl.training.checkpoints import Checkpoint
from minidl.training.run_data import data_of_training
from minidl.visual.file_names import file_name, with_digest
from minidl.visual.subject import Subject

SPLITS = ("train", "val", "test")
NAMED = 6  # files named one by one


def add_run_flags(parser: Parser, images: bool = True) -> None:
    """Flags for the network, for its images if `images` of the data set are shown, and for the place of pictures."""
    add_trained_flags(parser)
    if images:
        add_use_flags(parser)
        parser.add_argument("--split", default="val", choices=SPLITS, help="part of the data set (default val)")
    add_output_flags(parser, "figures/ of the run")


def add_output_flags(parser: Parser, where: str) -> None:
    parser.add_argument("--output", type=place, metavar="DIR", help=f"where pictures go (default: {where})")
    parser.add_argument("--format", default="png", choices=("png", "svg"), help="of the pictures (default png)")


def read_subject(args: Namespace, comm: Communicator = ALONE) -> Subject:
    """The network that the flags of `add_run_flags` name."""
    checkpoint = read_trained(args, comm)
    if "split" not in args:
        return Subject(checkpoint, build)
    run_on = execution(args)
    return Subject(checkpoint, build, data=args.data, whole=args.whole, split=args.split, execution=run_on)


class Pictures:
    """The place of a command's pictures, and their names."""

    def __init__(self, args: Namespace, subject: Subject) -> None:
        """Raises an error before anything is computed if no picture can be written to the folder."""
        from minidl.visual.canvas import check_place

        self.args, self.subject = args, subject
        check_place(self.folder)

    @property
    def folder(self) -> Path:
        """Where pictures go: --output, or figures/ of the run, or else the folder of the checkpoint.

        For a pretrained network it is figures/ of the working directory.
        """
        if self.args.output is not None:
            return Path(self.args.output)
        if self.args.pretrained:
            return Path("figures")
        place = self.subject.checkpoint.path.parent
        return place if self.subject.run is None else own_folder(place.parent, "figures")

    def path(self, *parts: Any, **settings: Any) -> Path:
        """The path of a picture of `parts`, with those `settings` that are not the default (`file_names`)."""
        return self.file(self.args.format, *parts, **settings)

    def file(self, suffix: str, *parts: Any, **settings: Any) -> Path:
        """The same for a file that is not a picture.

        Outside the run's own folder there may be pictures of several networks, so the name begins with the network's.
        """
        path, run = self.subject.checkpoint.path, self.subject.run
        own = run is not None and self.args.output is None
        network = path.stem if run is None else run.name
        settings = {**which_checkpoint(self.args, path, run), **settings}
        return make_folder(self.folder) / f"{file_name([None if own else network, *parts], settings)}.{suffix}"

    def changed(self, *names: str) -> dict[str, Any]:
        """The flags among `names` that were given another value than their default."""
        return changed_flags(self.args, *names)

    @property
    def which_data(self) -> dict[str, Any]:
        """For the name of a picture: which images of the data set it shows, if not those of the training."""
        return which_data(self.args, self.subject.checkpoint)


def which_checkpoint(args: Namespace, path: Path, run: Path | None) -> dict[str, str]:
    """For the name of what is made of the checkpoint file `path`: which of the `run` it is, if not the usual one."""
    usual = run is None or path.stem == args.parser.get_default("checkpoint")
    return {} if usual else {"checkpoint": path.stem}


def which_data(args: Namespace, checkpoint: Checkpoint) -> dict[str, Any]:
    """For the name of what is made of images: which data set it is, if not that of the training."""
    changed = changed_flags(args, "data", "whole")
    if "data" in changed:
        path, place = Path(changed["data"]).resolve(), Path(data_of_training(checkpoint))
        same_name = not place.exists() and stem(path) == stem(place)  # an export knows no more than the name
        changed["data"] = None if same_name or path == place.resolve() else with_digest(path.name, str(path))
    return changed


def refuse_data_flags(args: Namespace) -> None:
    """Raises UsageError if images of a data set are named where a photo is shown."""
    for name in changed_flags(args, "data", "whole", "split"):
        raise UsageError(f"--{name} goes without --image: a photo needs no data set")


def photo_name(path: str) -> str:
    """A photo in the name of a picture: its file name and a digest, because many photos are called IMG_1."""
    return with_digest(Path(path).stem, Path(path).read_bytes())


def make_folder(path: Path) -> Path:
    """The folder `path`, made if it is not there; DataError if it can't be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{path}: can't be made ({error.strerror})") from error
    return path


def save_raw(args: Namespace, picture: Path, array: np.ndarray | None) -> list[Path]:
    """With --raw, saves the numbers that a picture shows, as .npy beside it."""
    if not getattr(args, "raw", False) or array is None:
        return []
    path = picture.with_suffix(".npy")
    with atomic(path) as temporary:
        np.save(temporary, array, allow_pickle=False)
    return [path]


def say_written(paths: Sequence[Path]) -> int:
    for path in paths if len(paths) <= NAMED else [*paths[: NAMED - 2], paths[-1]]:
        print_lines(f"wrote {path}")
    if len(paths) > NAMED:
        print_lines(f"and {len(paths) - NAMED + 1} more in {paths[0].parent}")
    return 0
