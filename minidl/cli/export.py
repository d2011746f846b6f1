"""The command `export`: a trained network for other people, with its model card."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

from minidl.cli.flags import add_trained_flags, place, trained_file
from minidl.cli.output import interruption_said, output_file
from minidl.cli.parser import Command, Parser
from minidl.errors import UsageError
from minidl.models import build
from minidl.text.console import print_lines
from minidl.training.checkpoints import Checkpoint, load_checkpoint
from minidl.training.runs import Run, run_folder

ENDINGS = {"safetensors": (".safetensors",), "torch": (".pth", ".pt", ".safetensors"), "onnx": (".onnx",)}
MINE = "mit"  # the licence of the networks that come with minidl (models/weights/README.md)


def export_network(args: Namespace) -> int:
    """Writes a trained network for other people, as safetensors, for torch or as ONNX, and a model card."""
    from minidl.exchange.export import OnnxOptions, export  # a room of twenty files, which other commands don't need

    kind = _kind(args.to, args.output)
    if kind != "onnx" and (args.fold_bn or args.pixels):
        raise UsageError(f"{'--fold-bn' if args.fold_bn else '--pixels'} is for ONNX: add --to onnx")
    source = trained_file(args)
    if args.output is not None:
        output_file(args.output, "", source)  # before a large file is read
    with interruption_said():
        checkpoint = load_checkpoint(source)
        model = checkpoint.build(build)  # which makes sure that the checkpoint can be used
        path = output_file(args.output, f"{checkpoint.about.model}{ENDINGS[kind][0]}", source)
        license, options = MINE if args.pretrained else "unknown", OnnxOptions(args.fold_bn, args.pixels)
        files = export(path, kind, checkpoint, model, license, _val_images(checkpoint), options)
    for made in files:
        size = made.stat().st_size
        print_lines(f"wrote {made}, {f'{size / 1e6:.1f} MB' if size >= 1e5 else f'{size / 1e3:.1f} kB'}")
    return 0


def _val_images(checkpoint: Checkpoint) -> int | None:
    """How many validation images the data set of the checkpoint's run had, where the run says it."""
    folder = run_folder(checkpoint.path)
    data = Run.open(folder).data() if folder else None
    return data["val"]["images"] if data else None


def _kind(to: str | None, output: str | None) -> str:
    """The format that --to and the ending of --output mean together."""
    ending = Path(output or "").suffix.lower()
    meant = [kind for kind, endings in ENDINGS.items() if ending in endings]
    if to and meant and to not in meant:
        raise UsageError(f"--output {output}: the ending {ending} is that of {meant[0]}, and --to says {to}")
    if ending and not (to or meant):
        known = ", ".join(dict.fromkeys(e for endings in ENDINGS.values() for e in endings))
        raise UsageError(f"--output {output}: the ending {ending} is none of {known}: say the format with --to")
    return to or (meant[0] if meant else "safetensors")


def _add_flags(parser: Parser) -> None:
    add_trained_flags(parser)
    parser.add_argument(
        "--to", choices=tuple(ENDINGS),
        help="format: safetensors (minidl's own), torch (a state dict) or onnx; default by the ending of --output",
    )  # fmt: skip
    output = "what to write (default: MODEL.safetensors, .pth or .onnx)"
    parser.add_argument("--output", type=place, metavar="FILE", help=output)
    parser.add_argument(
        "--fold-bn", action="store_true", help="onnx: batch normalization multiplied into the convolutions before it"
    )
    parser.add_argument(
        "--pixels", action="store_true", help="onnx: the input is pixels from 0 to 255, the graph normalises them"
    )


EXPORT = Command(export_network, _add_flags)
