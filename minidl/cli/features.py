"""The commands `pca` and `tsne`: images placed by their features before the last layer."""

from __future__ import annotations

from argparse import Namespace

import numpy as np

from minidl.cli.flags import seed32
from minidl.cli.parser import Command, Parser
from minidl.cli.pictures import Pictures, add_run_flags, read_subject, say_written
from minidl.data.classes import class_names, find_classes
from minidl.parallel.world import world
from minidl.text.console import print_lines
from minidl.text.progress import Progress
from minidl.training.config import CLASSES_HELP
from minidl.training.execution import one_blas_thread
from minidl.training.together import same_data
from minidl.visual.subject import Subject


def pca(args: Namespace) -> int:
    """Shows images of some classes on the main axes of the features before the last layer."""
    from minidl.visual import embedding

    if (features := _features(args)) is None:
        return 0
    pictures, x, shown = features
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
    return _scatter(pictures, shown, points, titles, "PC")


def tsne(args: Namespace) -> int:
    """Shows images of some classes so that images with similar features before the last layer are close together."""
    from minidl.visual import embedding

    if (features := _features(args)) is None:
        return 0
    pictures, x, shown = features
    points = {}
    with Progress(f"t-SNE of {len(shown):,} images", 2, "embedding") as bar:
        for dims in (3, 2):
            points[dims] = embedding.tsne(x[shown], dims, args.seed).points
            bar.add(1)
    return _scatter(pictures, shown, points, dict.fromkeys(points, f"t-SNE of {x.shape[1]} features"), "t-SNE")


def _features(args: Namespace) -> tuple[Pictures, np.ndarray, np.ndarray] | None:
    """The features of all images of the split, and the positions of the images to show; None except on rank 0."""
    from minidl.visual import embedding

    comm = world()
    subject = read_subject(args, comm)
    pictures = Pictures(args, subject) if comm.rank == 0 else None
    classes = _classes(args, subject)
    names = class_names(subject.about.classes, subject.about.words)
    print_lines(f"classes {', '.join(names[c] for c in classes)}")
    data = same_data(comm, lambda: subject.data)
    shown = embedding.of_classes(subject.split.labels, classes)
    with one_blas_thread(), Progress("features", len(subject.split), "image") as bar:
        x = embedding.features(subject.running, data.loader(subject.split), subject.xp, bar.add, comm)
    return None if pictures is None else (pictures, x, shown)


def _classes(args: Namespace, subject: Subject) -> list[int]:
    """The classes of --classes; by default the first three."""
    about = subject.about
    if args.classes is None:
        return list(range(len(about.classes)))[:3]
    return sorted(find_classes(args.classes, about.classes, about.words))


def _scatter(
    pictures: Pictures, shown: np.ndarray, points: dict[int, np.ndarray], titles: dict[int, str], axis: str
) -> int:
    from minidl.visual import scatter

    args, subject = pictures.args, pictures.subject
    classes = _classes(args, subject)
    labels, names = np.searchsorted(classes, subject.labels(shown)), subject.words(classes)
    settings = {
        "classes": None if classes == list(range(len(subject.about.classes)))[:3] else ",".join(map(str, classes)),
        **pictures.which_data,
        **pictures.changed("split", "seed"),
    }
    three, two = (pictures.path(args.command, f"{dims}d", **settings) for dims in (3, 2))
    scatter.save_scatter_3d(three, points[3], labels, names, titles[3], axis)
    scatter.save_scatter_2d(two, points[2], subject.pictures(shown), labels, names, titles[2], axis)
    return say_written([three, two])


def _add_pca_flags(parser: Parser) -> None:
    add_run_flags(parser)
    parser.add_argument("--classes", metavar="LIST", help=f"{CLASSES_HELP} (default: the first three)")


def _add_tsne_flags(parser: Parser) -> None:
    _add_pca_flags(parser)
    parser.add_argument("--seed", default=0, type=seed32, help="of t-SNE (default 0)")


PCA = Command(pca, _add_pca_flags, share=True)
TSNE = Command(tsne, _add_tsne_flags, share=True)
