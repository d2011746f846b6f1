"""The model card that lies beside an exported network, in Hugging Face's form: YAML, then Markdown.

It says only what the checkpoint says. Names of classes and data sets may be anybody's; they stand in code.

Source: Mitchell et al., Model cards for model reporting, 2019; huggingface.co/docs/hub/model-cards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from minidl.errors import UsageError
from minidl.exchange.facts import TASK, Facts
from minidl.exchange.markup import block, code, yaml
from minidl.exchange.snippets import FORMATS, snippet
from minidl.exchange.training_words import accuracy, training
from minidl.version import __version__

_SIGNED = "\nWritten by minidl "  # the last line of a card, by which minidl knows its own


@dataclass(frozen=True)
class Exported:
    """The file that the card is about."""

    name: str
    kind: str  # one of FORMATS
    what: str  # a sentence about the kind
    digest: str  # SHA-256, hexadecimal
    size: int  # bytes
    pixels: bool = False  # whether the normalisation is in the file


def card(facts: Facts, file: Exported) -> str:
    """The text of the card."""
    about = facts.checkpoint.about
    size, model = facts.size, facts.checkpoint.about.model
    names = [c if c == w else f"{c}  {w}" for c, w in zip(about.classes, about.words, strict=True)]
    lines = [
        *("---", *yaml(_front_matter(facts, file)), "---", "", f"# {model}", ""),
        f"{facts.model[0].upper()}{facts.model[1:]}: a convolutional network with {facts.parameters:,} parameters,",
        f"which tells {len(names)} classes of images apart. {file.what}",
        *("", "| file | bytes | SHA-256 |", "|---|---:|---|"),
        f"| {_cell(file.name)} | {file.size:,} | `{file.digest}` |",
        *("", "## Training", "", *training(facts)),
        *("", "## Accuracy", "", *accuracy(facts)),
        *("", "## Input", "", *_preprocessing(facts, file)),
        *("", "## Use", "", *block(snippet(facts, file.kind, file.name, file.pixels), "python")),
        *("", "## Classes", "", "The number of the output, the id of the class, and its name.", ""),
        *block([f"{k:>4}  {name}" for k, name in enumerate(names)]),
        *("", "## Licence", "", *_license(facts)),
        *("", "## Limits", ""),
        f"The network gives one of its {len(names)} classes to every image, also to one that shows none of them. It",
        f"was made for images of {size}x{size} pixels. Nothing is known of how well it does on images unlike those",
        "that it was measured on, and nothing that matters should depend on it.",
        f"{_SIGNED}{__version__}.",
    ]
    return "\n".join(lines) + "\n"


def _front_matter(facts: Facts, file: Exported) -> dict[str, Any]:
    row = facts.measured
    kinds = dict.fromkeys([FORMATS[file.kind], "safetensors" if file.name.endswith(".safetensors") else file.kind])
    tags = [TASK, *dict.fromkeys(["minidl", *kinds])]
    found: dict[str, Any] = {
        "license": facts.license,
        "library_name": FORMATS[file.kind],
        "pipeline_tag": TASK,
        "tags": tags,
    }
    if row is not None:
        found["metrics"] = ["accuracy"]
        kind = facts.data if facts.drawn else "imagefolder"  # the name of a folder here is no data set of a hub
        data = {"name": facts.data, "type": kind, "split": "validation" if facts.whole else facts.part}
        metrics = [
            {"type": "accuracy", "name": f"top-{k} accuracy", "value": round(row[f"val_top{k}"], 6)} for k in (1, 5)
        ]
        result = {"task": {"type": TASK}, "dataset": data, "metrics": metrics}
        found["model-index"] = [{"name": facts.checkpoint.about.model, "results": [result]}]
    return found


def _cell(name: str) -> str:
    """A name in a table, whose cells end at | even in code."""
    return code(name).replace("|", "\\|")


def _preprocessing(facts: Facts, file: Exported) -> Iterator[str]:
    about, size = facts.checkpoint.about, facts.size
    mean, std = (", ".join(map(str, v)) for v in (about.mean, about.std))
    last = "float32, channels last: (N, H, W, 3)" if file.kind == "safetensors" else "float32 (N, 3, H, W)"
    yield "1. RGB, turned as the EXIF tag says; the central square, resized with a bilinear filter (antialiased, as"
    yield f"   Pillow's) to {size}x{size} pixels."
    if file.pixels:
        yield f"2. Pixels from 0 to 255 as {last}. The normalisation is in the file: x = (pixels / 255 - mean) / std,"
        yield "   with, for red, green and blue,"
    else:
        yield f"2. x = (pixels / 255 - mean) / std, as {last}, with, for red, green and blue,"
    yield f"   mean {mean} and"
    yield f"   std {std}."
    yield ""
    yield "The outputs are logits, one for each class; softmax makes probabilities of them."


def _license(facts: Facts) -> Iterator[str]:
    if facts.license == "unknown":
        yield "The person who exported the file has not said. minidl claims nothing of what is trained with it. The"
        yield "data set, or weights that the training began with, may have terms of their own. Whoever publishes this"
        yield "card fills in `license`."
    else:
        yield f"{facts.license.upper()}, as far as the authors of minidl can grant it."
    if facts.of_imagenet:
        yield ""
        yield "The weights were learnt from Tiny ImageNet, a part of ImageNet, whose images are given out for"
        yield "non-commercial research and education only (<https://www.image-net.org/download>). Whether that binds"
        yield "what was learnt from them is for you to judge. No image is in the file."


def check_card(path: Path) -> None:
    """Raises UsageError if a file lies at `path`, where a card is to be written, that is no card of minidl."""
    if not path.is_file():
        return
    with path.open("rb") as file:
        file.seek(max(path.stat().st_size - 1000, 0))
        if _SIGNED.encode() not in file.read():
            raise UsageError(
                f"{path}: where the model card goes is a file of yours: move it, or give another --output"
            )


def card_path(path: Path) -> Path:
    """Where the card of the file `path` lies: beside it, with .md added to its name."""
    return path.with_name(path.name + ".md")
