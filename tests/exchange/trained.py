"""Small checkpoints to export, of networks that nobody trained."""

from pathlib import Path

import numpy as np

import models
from minidl.storage.weights import model_arrays
from minidl.training.checkpoints import About, Checkpoint
from minidl.training.config import Config
from minidl.training.trainer import TrainState
from tests.strategies import randomized

SIZE = 16
HOSTILE = [
    "a\n---\nlicense: evil",
    "```\n# heading",
    "`code` ``more``",
    "| a | b |",
    "<script>alert(1)</script>",
    "[link](http://evil.example)",
    "- item: {x: 1}",
    "'quote\" # no comment",
    "\x1b[31mred",
    "line\u2028break \u202egnp.exe",
    "\ud800 lone",
    "日本 café",
    "null",
    " space ",
]


def row(epoch, top1=0.4):
    return {"epoch": epoch, "train_loss": 1.0, "train_top1": 0.5, "val_loss": 1.5, "val_top1": top1, "val_top5": 0.9,
            "lr": 1e-3, "images_per_s": 1.0, "seconds": 1.0}  # fmt: skip


def trained(model="convnet", classes=("cat", "dog", "emu"), words=None, state=None, **settings):
    """(checkpoint, network): random weights, by default after the one epoch of a run on shapes."""
    network = randomized(models.build(model, len(classes)), np.random.default_rng(0))
    config = Config(model=model, **{"epochs": 1, "image_size": SIZE, **settings}).as_dict()
    about = About(
        model, list(classes), list(words or classes), [SIZE, SIZE, 3], [0.48, 0.45, 0.4], [0.27, 0.26, 0.28], config
    )
    done = TrainState(epoch=1, step=5, best_epoch=1, best_top1=0.4, history=[row(1)])
    return Checkpoint(Path("best.safetensors"), about, state or done, model_arrays(network)), network


def front(card):
    """The lines of the card's YAML, and the rest."""
    start, yaml, rest = card.split("---\n", 2)
    assert start == ""
    return yaml.splitlines(), rest


def outside_code(card):
    """The lines of a card's text that are not in a block of code."""
    lines, fence, found = front(card)[1].splitlines(), None, []
    for line in lines:
        mark = line[: len(line) - len(line.lstrip("`"))]
        if fence is None and len(mark) >= 3:
            fence = mark
        elif fence is not None and line == fence:
            fence = None
        elif fence is None:
            found.append(line)
    assert fence is None
    return found


def program(card):
    """The Python program in the card."""
    return card.split("```python\n")[1].split("\n```")[0]
