"""Look inside a trained network: `python visualize.py COMMAND RUN`, `python visualize.py --help`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import models
from minidl.backend.arrays import to_device
from minidl.cli.parser import Commands, add_trained_flags, add_use_flags, trained_file
from minidl.data.classes import class_names, find_classes
from minidl.errors import UsageError
from minidl.storage.files import own_folder
from minidl.text.columns import align
from minidl.text.console import print_lines
from minidl.text.progress import Progress
from minidl.training import session
from minidl.training.config import CLASSES_HELP, count, seed32, whole
from minidl.visual import embedding, maps, scatter
from minidl.visual.canvas import check_place
from minidl.visual.figures import save_history
from minidl.visual.file_names import file_name
from minidl.visual.gallery import make_projector, save_array, save_photo, save_units
from minidl.visual.gradcam import enlarge, grad_cam
from minidl.visual.occlusion import grid, occlusion, sizes
from minidl.visual.projection import RULE_SEEDS, SEEDS
from minidl.visual.screen import SCALES
from minidl.visual.subject import Subject, make_folder
from minidl.visual.taps import NORMS

SPLITS = ("train", "val", "test")
SHOWN = 9  # images of Grad-CAM, if none is named
NAMED = 6  # files named one by one

UNIT_COMMANDS = {  # the norm that the paper found best, and what the command does
    "top": ("l2", "Shows the nine images of the split that excite a unit most."),
    "gradient": ("inf", "Shows how a unit's activation changes with each pixel of its nine images."),
    "guided": ("inf", "The same as gradient, without what would lower the activation (guided backpropagation)."),
    "deconv": ("l2", "Shows what of its nine images a unit responds to, by a deconvnet."),
}


def history(args: argparse.Namespace) -> int:
    """Draws accuracy and loss over the epochs of a run, the best epoch marked."""
    subject = _subject(args)
    if not (rows := subject.checkpoint.state.history):
        raise UsageError(f"{subject.checkpoint.path}: no epoch is finished yet")
    path = subject.picture("history")
    save_history(path, rows, f"{subject.about.model} on {Path(subject.about.config['data']).name}")
    return _wrote([path])


def layers(args: argparse.Namespace) -> int:
    """Lists the layers that can be looked at, with the shape of their output and their units."""
    subject = _subject(args)
    rows = [(row.name, "x".join(map(str, row.shape)), str(row.units)) for row in subject.layers]
    print_lines(*align([("layer", "output", "units"), *rows], left=1).splitlines())
    print_lines("and the parts of each block, such as stem.conv")
    return 0


def search(args: argparse.Namespace) -> int:
    """Draws the trials of a search: learning rate, weight decay and accuracy (the paper's Figure 3)."""
    from minidl.training.search import read_plan
    from minidl.training.study import read_trials
    from minidl.visual.search_plots import save_search

    folder = Path(args.folder)
    rows, config = read_trials(folder), read_plan(folder).config
    name = file_name([folder.resolve().name if args.output else None, "search"], {})
    place = make_folder(Path(args.output)) if args.output else own_folder(folder, "figures")
    path = place / f"{name}.{args.format}"
    title = f"{len(rows)} trials of {config.model} on {Path(config.data).name}, {config.epochs} epochs"
    save_search(path, rows, title)
    return _wrote([path])


# -------------------------------------------------------------------- feature space


def pca(args: argparse.Namespace) -> int:
    """Shows the images of some classes on the main axes of the features before the last layer."""
    subject, x, shown = _features(args)
    found, everywhere = embedding.pca(x[shown], 3), embedding.pca(x, 3)
    points, titles = {}, {}
    for dims in (3, 2):  # the first axes are the same however many there are
        share, of_all = (100 * e.explained[:dims].sum() for e in (found, everywhere))
        print_lines(
            f"{dims} axes explain {share:.2f} % of the variance of the {len(shown):,} images shown "
            f"({of_all:.2f} % if fitted on all {len(x):,} of {args.split})"
        )
        points[dims] = found.points[:, :dims]
        titles[dims] = f"PCA of {x.shape[1]} features · {share:.1f} % of the variance"
    return _scatter(subject, shown, points, titles, "PC")


def tsne(args: argparse.Namespace) -> int:
    """Shows the images of some classes so that those with like features before the last layer lie together."""
    subject, x, shown = _features(args)
    points = {}
    with Progress(f"t-SNE of {len(shown):,} images", 2, "embedding") as bar:
        for dims in (3, 2):
            points[dims] = embedding.tsne(x[shown], dims, args.seed).points
            bar.add(1)
    return _scatter(subject, shown, points, dict.fromkeys(points, f"t-SNE of {x.shape[1]} features"), "t-SNE")


def _features(args: argparse.Namespace) -> tuple[Subject, np.ndarray, np.ndarray]:
    """The subject, the features of all images of the split, and the positions of those to show."""
    subject = _subject(args)
    classes = _classes(subject)
    names = class_names(subject.about.classes, subject.about.words)
    print_lines(f"classes {', '.join(names[c] for c in classes)}")
    shown = embedding.of_classes(subject.split.labels, classes)
    with session.one_blas_thread(), Progress("features", len(subject.split), "image") as bar:
        x = embedding.features(subject.running, subject.data.loader(subject.split), subject.xp, bar.add)
    return subject, x, shown


def _classes(subject: Subject) -> list[int]:
    """Those of --classes; by default the first three."""
    about = subject.about
    if subject.args.classes is None:
        return list(range(len(about.classes)))[:3]
    return sorted(find_classes(subject.args.classes, about.classes, about.words))


def _scatter(
    subject: Subject, shown: np.ndarray, points: dict[int, np.ndarray], titles: dict[int, str], axis: str
) -> int:
    classes = _classes(subject)
    labels, names = np.searchsorted(classes, subject.labels(shown)), subject.words(classes)
    settings = {
        "classes": None if classes == list(range(len(subject.about.classes)))[:3] else ",".join(map(str, classes)),
        **subject.which_data,
        **subject.changed("split", "seed"),
    }
    three, two = (subject.picture(subject.args.command, f"{dims}d", **settings) for dims in (3, 2))
    scatter.save_scatter_3d(three, points[3], labels, names, titles[3], axis)
    scatter.save_scatter_2d(two, points[2], subject.pictures(shown), labels, names, titles[2], axis)
    return _wrote([three, two])


# ---------------------------------------------------------------------------- units


def units(args: argparse.Namespace) -> int:
    """`top`, `gradient`, `guided` and `deconv`."""
    subject = _subject(args)
    layer = args.layer or subject.last_map()
    projector = make_projector(subject, layer)
    with session.one_blas_thread():
        if projector is not None and args.image is not None:
            return _wrote(save_photo(subject, layer, projector))
        return _wrote(save_units(subject, layer, projector))


# ------------------------------------------------------------ what speaks for a class


def occlude(args: argparse.Namespace) -> int:
    """Slides a gray square over an image and shows what becomes of the prediction."""
    subject = _subject(args)
    side = subject.about.image_shape[:2]
    patch, stride = sizes(*side, args.patch, args.stride)
    image, name, label = _one_image(subject)
    x = subject.normalised(image[None])
    label = _class_to_explain(subject, x, np.array([label]))[0]
    gray = (0.5 - np.array(subject.about.mean)) / np.array(subject.about.std)
    places = np.prod([len(first) for first in grid(*side, patch, stride)])
    with session.one_blas_thread(), Progress("occluding", places, "place") as bar:
        found = occlusion(
            subject.running, x[0], label, fill=gray, patch=patch, stride=stride, xp=subject.xp, on_batch=bar.add
        )
    words = subject.words(range(len(subject.about.words)))
    own = {"patch": patch if patch != sizes(*side)[0] else None,
           "stride": stride if stride != sizes(*side, patch)[1] else None}  # fmt: skip
    path = subject.picture("occlusion", name, **_explained(subject), **own)
    footer = f"{subject.source} · gray square of {patch} pixels, {stride} apart"
    maps.save_occlusion(
        path, image, found.at_pixels(), found.predicted, words, found.whole_probability,
        f"occlusion · {name} · {words[label]}", footer,
    )  # fmt: skip
    return _wrote([path, *([save_array(path.with_suffix(".npy"), found.probability)] if args.raw else [])])


def gradcam(args: argparse.Namespace) -> int:
    """Shows which places of the images speak for their class, by the gradient at a layer."""
    subject = _subject(args)
    layer = args.layer or subject.last_map()
    images, name, labels = _some_images(subject)
    x = subject.normalised(images)
    predicted, classes = subject.predicted(x)[0], _class_to_explain(subject, x, labels)
    with session.one_blas_thread():
        found = grad_cam(subject.plain, to_device(x, subject.xp), layer, classes)
    path = subject.picture("gradcam", layer, name, **_explained(subject))
    large = enlarge(found, *images.shape[1:3])
    words = [subject.words(c) for c in (classes, predicted)]
    maps.save_gradcam(path, images, large, *words, f"Grad-CAM · {layer}", subject.source)
    return _wrote([path, *([save_array(path.with_suffix(".npy"), found)] if args.raw else [])])


def _one_image(subject: Subject) -> tuple[np.ndarray, str, int]:
    """(uint8 image, its name, true label or -1): --image, or --index of the split (by default the first)."""
    args = subject.args
    if args.image is not None:
        return subject.photo(args.image), subject.photo_name(args.image), -1
    index = subject.position(args.index or 0)
    return subject.pictures([index])[0], f"{args.split}-{index}", int(subject.labels([index])[0])


def _some_images(subject: Subject) -> tuple[np.ndarray, str, np.ndarray]:
    """The same with an axis for several images; by default some from all over the split."""
    args = subject.args
    if args.image is not None or args.index is not None:
        image, name, label = _one_image(subject)
        return image[None], name, np.array([label])
    positions = np.linspace(0, len(subject.split) - 1, min(SHOWN, len(subject.split))).astype(int)
    return subject.pictures(positions), args.split, subject.labels(positions)


def _class_to_explain(subject: Subject, x: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """--class, else the true class, else the predicted one."""
    if subject.args.class_name is not None:
        return np.full(len(x), subject.class_of(subject.args.class_name))
    return np.where(labels >= 0, labels, subject.predicted(x)[0])


def _explained(subject: Subject) -> dict[str, Any]:
    """For the name of a picture: --class by its position, and the data set that the image is from."""
    asked = subject.args.class_name
    data = {} if subject.args.image is not None else subject.which_data
    return {"class": None if asked is None else subject.class_of(asked), **data}


# ------------------------------------------------------------------- the command line


def _subject(args: argparse.Namespace) -> Subject:
    """Refuses a folder that takes no pictures before anything is computed for them."""
    subject = Subject(args, trained_file(args), models.build)
    if args.command != "layers":
        check_place(subject.folder)
    return subject


def _wrote(paths: list[Path]) -> int:
    for path in paths if len(paths) <= NAMED else [*paths[: NAMED - 2], paths[-1]]:
        print_lines(f"wrote {path}")
    if len(paths) > NAMED:
        print_lines(f"and {len(paths) - NAMED + 1} more in {paths[0].parent}")
    return 0


def make_commands() -> Commands:
    commands = Commands("visualize.py", __doc__, models)

    def add(
        name: str, function: Callable[[argparse.Namespace], int], about: str | None = None, images: bool = True
    ) -> argparse.ArgumentParser:
        sub = commands.add(name, function, about)
        add_trained_flags(sub, models.pretrained())
        sub.set_defaults(parser=sub)
        if images:
            add_use_flags(sub)
            sub.add_argument("--split", default="val", choices=SPLITS, help="part of the data set (default val)")
        _add_output_flags(sub, "figures/ of the run")
        return sub

    add("history", history, images=False).set_defaults(checkpoint="last")  # `best` ends with the best epoch
    add("layers", layers, images=False)
    sub = commands.add("search", search)
    sub.add_argument("folder", metavar="FOLDER", help="of a search (`train.py search`)")
    _add_output_flags(sub, "figures/ of the search")
    for name, function in (("pca", pca), ("tsne", tsne)):
        sub = add(name, function)
        sub.add_argument("--classes", metavar="LIST", help=f"{CLASSES_HELP} (default: the first three)")
    sub.add_argument("--seed", default=0, type=seed32, help="of t-SNE (default 0)")
    for name, (norm, about) in UNIT_COMMANDS.items():
        _add_unit_flags(add(name, units, about), name, norm)
    for name, function in (("occlusion", occlude), ("gradcam", gradcam)):
        sub = add(name, function)
        which = sub.add_mutually_exclusive_group()
        which.add_argument("--image", metavar="PHOTO", help="a photo of any size")
        which.add_argument("--index", type=whole, metavar="N", help="position of an image in the split")
        sub.add_argument(
            "--class",
            dest="class_name",
            metavar="CLASS",
            help="id, name or position (default: the true class, else the predicted one)",
        )
        sub.add_argument("--raw", action="store_true", help="also write the numbers as .npy")
        if name == "occlusion":
            sub.add_argument(
                "--patch", type=count, help="side of the square in pixels (default: a quarter of the image's)"
            )
            sub.add_argument(
                "--stride",
                type=count,
                help="pixels from one place to the next (default: a sixteenth of the image's side)",
            )
        else:
            sub.add_argument("--layer", help="whose map (default: the last one; see `visualize.py layers`)")
    return commands


def _add_output_flags(sub: argparse.ArgumentParser, where: str) -> None:
    sub.add_argument("--output", metavar="DIR", help=f"where pictures go (default: {where})")
    sub.add_argument("--format", default="png", choices=("png", "svg"), help="of the pictures (default png)")


def _add_unit_flags(sub: argparse.ArgumentParser, name: str, norm: str) -> None:
    sub.add_argument(
        "--layer", help="such as inception2.b3 (default: the last with a map; see `visualize.py layers`)"
    )
    sub.add_argument(
        "--unit", default="top:9", help="17 or 3,17, all, or top:20, the most selective ones (default top:9)"
    )
    sub.add_argument("--norm", default=norm, choices=NORMS, help=f"by which images are ranked (default {norm})")
    if name == "top":
        return
    sub.add_argument(
        "--image", metavar="PHOTO", help="explain this photo instead; top:9 are its strongest units then"
    )
    sub.add_argument(
        "--seed-map",
        default=RULE_SEEDS[name],
        choices=SEEDS,
        help="the way back begins with the norm's derivative, the activation map, its maximum or ones "
        "(default %(default)s)",
    )
    sub.add_argument(
        "--scale", default="image", choices=SCALES, help="contrast of each image or of the sheet (default image)"
    )
    sub.add_argument("--raw", action="store_true", help="also write the projections as .npy")
    if name == "deconv":
        sub.add_argument(
            "--deconv-bn",
            default="skip",
            choices=("skip", "scale"),
            help="at a batch normalization (default skip, as in the paper)",
        )
        sub.add_argument(
            "--unpool",
            default="sum",
            choices=("sum", "last", "max"),
            help="windows that share a maximum (default sum)",
        )


def main(argv: list[str]) -> int:
    return make_commands().run(argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
