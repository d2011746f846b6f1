"""A trained network for other people: a file in one of three formats, and its model card beside it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from minidl.exchange.card import Exported, card, card_path, check_card
from minidl.exchange.facts import Facts
from minidl.exchange.onnx_file import OPSET, import_onnx, write_onnx
from minidl.exchange.onnx_fold import fold_batch_norms
from minidl.exchange.onnx_walk import onnx_graph
from minidl.exchange.torch_writer import write_state_dict
from minidl.layers import Layer
from minidl.storage.files import together
from minidl.storage.weights import save_arrays, to_torch_state_dict
from minidl.training.checkpoints import Checkpoint, export_checkpoint, portable_checkpoint

CHUNK = 1 << 20


@dataclass(frozen=True)
class OnnxOptions:
    """What is chosen of an ONNX file."""

    fold_bn: bool = False  # batch normalization multiplied into the convolutions
    pixels: bool = False  # the input is pixels from 0 to 255, the normalisation is in the graph


def export(
    path: Path,
    kind: str,
    checkpoint: Checkpoint,
    model: Layer,
    license: str = "unknown",
    val_images: int | None = None,
    onnx: OnnxOptions = OnnxOptions(),  # noqa: B008 - it can't be changed
) -> list[Path]:
    """Writes the network to `path` in the format `kind`, "safetensors", "torch" or "onnx", and its card beside it.

    model        that of the checkpoint
    val_images   how many its data set has, if that is known

    Of "torch", a name that ends in .safetensors is written as that, with torch's names and layout. Existing files are
    replaced, both at once. Returns their paths. Raises DataError if they can't be written, UsageError if the package
    onnx is not installed, or if a file that is no card of minidl lies where the card goes.
    """
    check_card(card_path(path))
    facts = Facts(portable_checkpoint(checkpoint), license, val_images)
    if kind == "onnx":
        import_onnx()
    write, what = {"safetensors": _write_safetensors, "torch": _write_torch, "onnx": _write_onnx}[kind](
        facts, model, path.name, onnx
    )
    with together(path, card_path(path)) as (file, page):
        write(file)
        exported = Exported(path.name, kind, what, _digest(file), file.stat().st_size, onnx.pixels)
        page.write_text(card(facts, exported), encoding="utf-8")
    return [path, card_path(path)]


Writer = tuple[Callable[[Path], None], str]  # how the file is written, and a sentence about it


def _write_safetensors(facts: Facts, model: Layer, name: str, onnx: OnnxOptions) -> Writer:
    more = {"format": "np", **facts.metadata("NHWC")}
    what = "The file is a checkpoint of minidl without its optimizer: weights, classes, settings and history."
    return lambda path: export_checkpoint(path, facts.checkpoint, more), what


def _write_torch(facts: Facts, model: Layer, name: str, onnx: OnnxOptions) -> Writer:
    arrays, what = to_torch_state_dict(model), "The file is a state dict, with torch's names and layout"
    if name.endswith(".safetensors"):
        metadata = {"format": "pt", **facts.metadata("NCHW")}
        return lambda path: save_arrays(path, arrays, metadata), f"{what}, as safetensors."
    return lambda path: write_state_dict(path, arrays), f"{what}; `torch.load` reads it with `weights_only=True`."


def _write_onnx(facts: Facts, model: Layer, name: str, onnx: OnnxOptions) -> Writer:
    about = facts.checkpoint.about
    graph = onnx_graph(model, tuple(about.image_shape), (about.mean, about.std) if onnx.pixels else None)
    if onnx.fold_bn:
        fold_batch_norms(graph)
    folded = ", batch normalization multiplied into the convolutions" if onnx.fold_bn else ""
    what = f"The file is an ONNX model (opset {OPSET}{folded}) for any number of images at a time."
    metadata = {"format": "onnx", **facts.metadata("NCHW", onnx.pixels)}
    return lambda path: write_onnx(path, graph, about.model, metadata), what


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
