"""The commands `occlusion` and `gradcam`: which parts of an image are evidence for a class."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np

from minidl.backend.arrays import to_device
from minidl.cli.flags import count, whole
from minidl.cli.parser import Command, Parser
from minidl.cli.pictures import (
    Pictures,
    add_run_flags,
    photo_name,
    read_subject,
    refuse_data_flags,
    save_raw,
    say_written,
)
from minidl.errors import UsageError
from minidl.text.calls import call
from minidl.text.progress import Progress
from minidl.training.execution import one_blas_thread
from minidl.visual.gradcam import enlarge, grad_cam
from minidl.visual.occlusion import grid, occlusion, sizes
from minidl.visual.subject import Subject

SHOWN = 9  # images of Grad-CAM, if none is named


def occlude(args: Namespace) -> int:
    """Moves a gray square over an image and shows how the prediction changes."""
    from minidl.visual import maps

    subject = read_subject(args)
    pictures = Pictures(args, subject)
    side = subject.about.image_shape[:2]
    patch, stride = sizes(*side, args.patch, args.stride)
    image, name, label = _one_image(args, subject)
    x = subject.normalised(image[None])
    label = _class_to_explain(args, subject, x, np.array([label]))[0]
    gray = (0.5 - np.array(subject.about.mean)) / np.array(subject.about.std)
    places = np.prod([len(first) for first in grid(*side, patch, stride)])
    with one_blas_thread(), Progress("occluding", places, "place") as bar:
        found = occlusion(
            subject.running, x[0], label, fill=gray, patch=patch, stride=stride, xp=subject.xp, on_batch=bar.add
        )
    words = subject.names
    own = {"patch": patch if patch != sizes(*side)[0] else None,
           "stride": stride if stride != sizes(*side, patch)[1] else None}  # fmt: skip
    path = pictures.path("occlusion", name, **_explained(pictures), **own)
    footer = f"{subject.source} · gray square of {patch} pixels, {stride} apart"
    maps.save_occlusion(
        path, image, found.at_pixels(), found.predicted, words, found.whole_probability,
        f"occlusion · {name} · {words[label]}", footer,
    )  # fmt: skip
    return say_written([path, *save_raw(args, path, found.probability)])


def gradcam(args: Namespace) -> int:
    """Shows which places of the images are evidence for their class, by the gradient at a layer."""
    from minidl.visual import maps

    subject = read_subject(args)
    pictures = Pictures(args, subject)
    layer = args.layer or subject.last_map()
    images, name, labels = _some_images(args, subject)
    x = subject.normalised(images)
    predicted, classes = subject.predicted(x)[0], _class_to_explain(args, subject, x, labels)
    with one_blas_thread():
        found = grad_cam(subject.plain, to_device(x, subject.xp), layer, classes)
    path = pictures.path("gradcam", layer, name, **_explained(pictures))
    large = enlarge(found, *images.shape[1:3])
    words = [subject.words(c) for c in (labels, predicted, classes)]
    maps.save_gradcam(path, images, large, *words, f"Grad-CAM · {layer}", subject.source)
    return say_written([path, *save_raw(args, path, found)])


def _one_image(args: Namespace, subject: Subject) -> tuple[np.ndarray, str, int]:
    """(uint8 image, its name, true label or -1): --image, or --index of the split (by default the first)."""
    if args.image is not None:
        if args.image.isdecimal() and not Path(args.image).exists():
            raise UsageError(f"--image {args.image}: no such photo; for a position give --index {args.image}")
        refuse_data_flags(args)
        return subject.photo(args.image), photo_name(args.image), -1
    index = subject.position(args.index or 0)
    return subject.pictures([index])[0], f"{args.split}-{index}", int(subject.labels([index])[0])


def _some_images(args: Namespace, subject: Subject) -> tuple[np.ndarray, str, np.ndarray]:
    """The same for several images; by default some from all over the split."""
    if args.image is not None or args.index is not None:
        image, name, label = _one_image(args, subject)
        return image[None], name, np.array([label])
    positions = np.linspace(0, len(subject.split) - 1, min(SHOWN, len(subject.split))).astype(int)
    return subject.pictures(positions), args.split, subject.labels(positions)


def _class_to_explain(args: Namespace, subject: Subject, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """--class, or the true class, or else the predicted one."""
    if args.class_name is not None:
        return np.full(len(x), subject.class_of(args.class_name))
    return np.where(labels >= 0, labels, subject.predicted(x)[0])


def _explained(pictures: Pictures) -> dict[str, Any]:
    """For the name of a picture: the position of --class, and the data set of the image."""
    asked = pictures.args.class_name
    data = {} if pictures.args.image is not None else pictures.which_data
    return {"class": None if asked is None else pictures.subject.class_of(asked), **data}


def _add_image_flags(parser: Parser, default: str) -> None:
    """Flags for the images, of which the commands show the `default` if none is named."""
    add_run_flags(parser)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--image", metavar="PHOTO", help="a photo of any size")
    about = f"position of an image in the split (default: {default})"
    which.add_argument("--index", type=whole, metavar="N", help=about)
    about = "id, name or position (default: the true class, else the predicted one)"
    parser.add_argument("--class", dest="class_name", metavar="CLASS", help=about)
    parser.add_argument("--raw", action="store_true", help="also write the numbers as .npy")


def _add_occlusion_flags(parser: Parser) -> None:
    _add_image_flags(parser, "the first")
    about = "side of the square in pixels (default: a quarter of the image's)"
    parser.add_argument("--patch", type=count, help=about)
    about = "pixels from one place to the next (default: a sixteenth of the image's side)"
    parser.add_argument("--stride", type=count, help=about)


def _add_gradcam_flags(parser: Parser) -> None:
    _add_image_flags(parser, f"{SHOWN} from all over it")
    parser.add_argument("--layer", help=f"whose map (default: the last one; see `{call('layers')}`)")


OCCLUSION = Command(occlude, _add_occlusion_flags)
GRADCAM = Command(gradcam, _add_gradcam_flags)
