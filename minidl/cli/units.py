"""The commands `top`, `gradient`, `guided` and `deconv`: the images that units respond to, and what they see."""

from __future__ import annotations

from argparse import Namespace

from minidl.cli.parser import Command, Parser
from minidl.cli.pictures import Pictures, add_run_flags, read_subject, say_written
from minidl.layers import Rule
from minidl.parallel.world import world
from minidl.text.calls import call
from minidl.text.console import print_lines
from minidl.training.execution import one_blas_thread
from minidl.visual.projection import RULE_SEEDS, SEEDS, Projector, negative_gammas
from minidl.visual.screen import SCALES
from minidl.visual.subject import Subject
from minidl.visual.taps import NORMS
from minidl.visual.units import DEFAULT


def units(args: Namespace) -> int:
    from minidl.cli.unit_pictures import save_photo, save_units, scan

    comm = world()
    subject = read_subject(args, comm)
    layer = args.layer or subject.last_map()
    if comm.rank:  # only the scan is shared
        with one_blas_thread():
            if getattr(args, "image", None) is None:
                scan(args, subject, layer, comm)
        return 0
    pictures = Pictures(args, subject)
    projector = None if args.command == "top" else _make_projector(args, subject, layer)
    with one_blas_thread():
        if projector is not None and args.image is not None:
            return say_written(save_photo(pictures, layer, projector))
        return say_written(save_units(pictures, layer, projector, comm))


def _make_projector(args: Namespace, subject: Subject, layer: str) -> Projector:
    deconv = {"bn": args.deconv_bn, "unpool": args.unpool} if args.command == "deconv" else {}
    rule = Rule(args.command, **deconv)
    projector = Projector(
        subject.model, layer, rule, norm=args.norm, seed_map=args.seed_map, engine=args.engine, threads=args.threads,
        xp=subject.xp,
    )  # fmt: skip
    if rule.name == "deconv" and rule.bn == "skip":
        flipped, channels = negative_gammas(subject.model, layer)
        if flipped:
            print_lines(
                f"{flipped} of {channels} channels on the way to {layer} have gamma < 0: skipping BN turns their sign"
            )
    return projector


def _add_top_flags(parser: Parser, norm: str = "l2") -> None:
    """norm    the one that the paper found best"""
    add_run_flags(parser)
    layer = f"such as inception2.b3 (default: the last with a map; see `{call('layers')}`)"
    unit = "17 or 3,17, all, or top:20, the most selective ones (default top:9)"
    parser.add_argument("--layer", help=layer)
    parser.add_argument("--unit", default=DEFAULT, help=unit)
    parser.add_argument("--norm", default=norm, choices=NORMS, help=f"by which images are ranked (default {norm})")


def _add_projection_flags(parser: Parser, name: str, norm: str) -> None:
    _add_top_flags(parser, norm)
    image = "explain this photo instead; top:9 are its strongest units then"
    seed = "start of the way back: the norm's derivative, the activation map, its maximum or ones"
    scale = "contrast of each image or of the sheet (default image)"
    parser.add_argument("--image", metavar="PHOTO", help=image)
    parser.add_argument(
        "--seed-map", default=RULE_SEEDS[name], choices=SEEDS, help=f"{seed} (default {RULE_SEEDS[name]})"
    )
    parser.add_argument("--scale", default="image", choices=SCALES, help=scale)
    parser.add_argument("--raw", action="store_true", help="also write the projections as .npy")


def _add_deconv_flags(parser: Parser) -> None:
    _add_projection_flags(parser, "deconv", "l2")
    bn = "at a batch normalization (default skip, as in the paper)"
    unpool = "windows that share a maximum (default sum)"
    parser.add_argument("--deconv-bn", default="skip", choices=("skip", "scale"), help=bn)
    parser.add_argument("--unpool", default="sum", choices=("sum", "last", "max"), help=unpool)


TOP = Command(units, _add_top_flags, "Shows the nine images of the split that excite a unit most.", share=True)
GRADIENT = Command(
    units,
    lambda parser: _add_projection_flags(parser, "gradient", "inf"),
    "Shows how a unit's activation changes with each pixel of its nine images.",
    share=True,
)
GUIDED = Command(
    units,
    lambda parser: _add_projection_flags(parser, "guided", "inf"),
    "Like gradient, but without everything that would lower the activation (guided backpropagation).",
    share=True,
)
DECONV = Command(
    units, _add_deconv_flags, "Shows what a unit responds to in its nine images, by a deconvnet.", share=True
)
