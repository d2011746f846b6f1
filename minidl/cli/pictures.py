"""What the commands that draw have in common: their network, where their pictures go, and what those are called."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minidl.cli.flags import add_trained_flags, add_use_flags, execution, trained_file
from minidl.cli.parser import Parser
from minidl.errors import DataError
from minidl.models import build
from minidl.storage.files import atomic, own_folder
from minidl.text.console import print_lines
from minidl.visual.file_names import file_name, with_digest
from minidl.visual.subject import Subject

SPLITS = ("train", "val", "test")
NAMED = 6  # files named one by one


def add_run_flags(parser: Parser, images: bool = True) -> None:
    """The network, with the images that it is shown if `images` of the data set are, and where pictures go."""
    add_trained_flags(parser)
    if images:
        add_use_flags(parser)
        parser.add_argument("--split", default="val", choices=SPLITS, help="part of the data set (default val)")
    add_output_flags(parser, "figures/ of the run")


def add_output_flags(parser: Parser, where: str) -> None:
    parser.add_argument("--output", metavar="DIR", help=f"where pictures go (default: {where})")
    parser.add_argument("--format", default="png", choices=("png", "svg"), help="of the pictures (default png)")


def read_subject(args: Namespace) -> Subject:
    """The network that the flags of `add_run_flags` ask for."""
    file = trained_file(args)
    if "split" not in args:
        return Subject(file, build)
    run_on = execution(args)
    return Subject(file, build, data=args.data, whole=args.whole, split=args.split, execution=run_on)


class Pictures:
    """Where the pictures of a command go, and what they are called."""

    def __init__(self, args: Namespace, subject: Subject) -> None:
        """Refuses a folder that takes no pictures before anything is computed for them."""
        from minidl.visual.canvas import check_place

        self.args, self.subject = args, subject
        check_place(self.folder)

    @property
    def folder(self) -> Path:
        """Where pictures go: --output, else figures/ of the run, else beside the checkpoint (and for a pretrained
        network figures/ of the working directory)."""
        if self.args.output is not None:
            return Path(self.args.output)
        if self.args.pretrained:
            return Path("figures")
        place = self.subject.checkpoint.path.parent
        return place if self.subject.run is None else own_folder(place.parent, "figures")

    def path(self, *parts: Any, **settings: Any) -> Path:
        """Where a picture goes that shows `parts`, with those `settings` that are not the default (`file_names`)."""
        return self.file(self.args.format, *parts, **settings)

    def file(self, suffix: str, *parts: Any, **settings: Any) -> Path:
        """The same for a file that is no picture.

        Outside the run's own folder, where pictures of several networks may lie, the name begins with the network's.
        """
        path, run = self.subject.checkpoint.path, self.subject.run
        own = run is not None and self.args.output is None
        network = path.stem if run is None else run.name
        usual = run is None or path.stem == self.args.parser.get_default("checkpoint")
        settings = {"checkpoint": None if usual else path.stem, **settings}
        return make_folder(self.folder) / f"{file_name([None if own else network, *parts], settings)}.{suffix}"

    def changed(self, *names: str) -> dict[str, Any]:
        """Those of the flags `names` that were given another value than their default."""
        values = {name: getattr(self.args, name, None) for name in names}
        return {name: v for name, v in values.items() if v != self.args.parser.get_default(name)}

    @property
    def which_data(self) -> dict[str, Any]:
        """For the name of what is shown on images of the data set: which, if not those of the training."""
        changed = self.changed("data", "whole")
        if "data" in changed:
            path = Path(changed["data"]).resolve()
            trained = str(path) == str(Path(self.subject.about.config["data"]).resolve())
            changed["data"] = None if trained else with_digest(path.name, str(path))
        return changed


def photo_name(path: str) -> str:
    """The name of a photo in that of a picture; it holds for one content, as many photos are called IMG_1."""
    return with_digest(Path(path).stem, Path(path).read_bytes())


def make_folder(path: Path) -> Path:
    """The folder `path`, made if it is not there; DataError if it can't be."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{path}: can't be made ({error.strerror})") from error
    return path


def save_raw(args: Namespace, picture: Path, array: np.ndarray | None) -> list[Path]:
    """With --raw, the numbers behind a picture as .npy beside it."""
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
