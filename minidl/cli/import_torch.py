"""The command `import-torch`: weights of PyTorch become a checkpoint."""

from __future__ import annotations

import shlex
from argparse import Namespace
from pathlib import Path

from minidl.cli.flags import flag, pixels, place
from minidl.cli.output import interruption_said, output_file
from minidl.cli.parser import Command, Parser
from minidl.errors import UsageError
from minidl.models import OPTIONS, REGISTRY, build
from minidl.models.registry import options_of
from minidl.text import numbers
from minidl.text.calls import call
from minidl.text.console import print_lines
from minidl.training.checkpoints import export_checkpoint


def import_torch(args: Namespace) -> int:
    """Makes a checkpoint of weights of PyTorch, which needn't be installed."""
    from minidl.exchange.class_names import read_class_names  # other commands start without that room
    from minidl.exchange.imports import Images, MisfitError, Networks, import_weights

    source = Path(args.file)
    target = output_file(args.output, f"{args.model}.safetensors", source)
    if target.suffix != ".safetensors":
        raise UsageError(f"--output {target}: a checkpoint is a .safetensors file, so name it so")
    names = read_class_names(Path(args.classes)) if args.classes else None
    images = Images(args.image_size, args.mean, args.std)
    with interruption_said():
        try:
            made = import_weights(source, args.model, Networks(REGISTRY, build, options_of, OPTIONS), images, names)
        except MisfitError as error:
            print_lines(*error.report)
            raise
        print_lines(*(f"{subject:8} {sentence}" for subject, sentence in made.notes))
        export_checkpoint(target, made.checkpoint)
    typed = f"{call('predict')} {shlex.quote(str(target))} PHOTO"
    print_lines(f"wrote    {target}, {target.stat().st_size / 1e6:.1f} MB: {typed}")
    return 0


def _add_flags(parser: Parser) -> None:
    from minidl.exchange.imports import SIZE

    parser.add_argument("file", metavar="FILE", help="a .pth, .pt or .bin file of torch.save, or safetensors")
    parser.add_argument("--model", required=True, choices=tuple(REGISTRY), help="the network that it belongs to")
    output = "the checkpoint to write (default MODEL.safetensors)"
    parser.add_argument("--output", type=place, metavar="FILE", help=output)
    classes = "names of the classes: one on each line, or JSON (default class0, ...)"
    parser.add_argument("--classes", type=place, metavar="FILE", help=classes)
    parser.add_argument(
        "--image-size", type=pixels, default=SIZE, help="pixels of the images' sides (default %(default)s)"
    )
    parser.add_argument(
        "--mean", nargs=3, type=flag(numbers.unit), metavar=("R", "G", "B"),
        help="mean of the training images, from 0 to 1 (default ImageNet's; googlenet 0.5)",
    )  # fmt: skip
    parser.add_argument(
        "--std", nargs=3, type=flag(numbers.deviation), metavar=("R", "G", "B"),
        help="their standard deviation (default ImageNet's; googlenet 0.5)",
    )  # fmt: skip


IMPORT_TORCH = Command(import_torch, _add_flags)
