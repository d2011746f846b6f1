"""The networks by name, and the trained ones that come with minidl."""

from __future__ import annotations

import inspect
from functools import partial
from pathlib import Path

import numpy as np

from minidl.errors import UsageError, require_whole
from minidl.layers import ACTIVATIONS, Sequential
from minidl.models.convnet import build_convnet
from minidl.models.googlenet import GOOGLENET, build_googlenet
from minidl.models.inception import BASELINE, REFINED, THREE_MODULE, build_inception
from minidl.models.resnet import RESNET18, RESNET34, RESNEXT50, STEMS, build_resnet
from minidl.models.vgg import VGG11, VGG16, build_vgg

REGISTRY = {
    "baseline": partial(build_inception, BASELINE),
    "refined": partial(build_inception, REFINED),
    "three-module": partial(build_inception, THREE_MODULE),
    "convnet": build_convnet,
    "resnet18": partial(build_resnet, RESNET18),
    "resnet34": partial(build_resnet, RESNET34),
    "resnext50": partial(build_resnet, RESNEXT50),
    "vgg11": partial(build_vgg, VGG11),
    "vgg11-bn": partial(build_vgg, VGG11, norm=True),
    "vgg16": partial(build_vgg, VGG16),
    "vgg16-bn": partial(build_vgg, VGG16, norm=True),
    "googlenet": partial(build_googlenet, GOOGLENET),
}
OPTIONS = {"stem": tuple(STEMS), "activation": tuple(ACTIVATIONS)}  # that some networks have, and their values
WEIGHTS = Path(__file__).parent / "weights"


def build(
    name: str,
    classes: int = 200,
    *,
    dropout: float = 0.0,
    seed: int = 0,
    dtype: type = np.float32,
    stem: str | None = None,
    activation: str | None = None,
) -> Sequential:
    """The registered network `name`, with weights drawn from `seed`.

    `stem` ("small" or "imagenet", of a ResNet) and `activation` ("relu", "leaky-relu" or "silu") are for the networks
    that let you choose; None is what the network has by default. docs/networks.md says where `dropout` stands.
    Raises UsageError for an unknown name or a choice that it hasn't.
    """
    if name not in REGISTRY:
        raise UsageError(f"unknown model {name!r}: choose {', '.join(REGISTRY)}")
    if not hasattr(classes, "__index__") or classes < 2:
        raise UsageError(f"a classifier needs a whole number of at least 2 classes, got {classes!r:.60}")
    require_whole("seed", seed)
    chosen = {option: value for option, value in (("stem", stem), ("activation", activation)) if value is not None}
    for option, value in chosen.items():
        if option not in options_of(name):
            known = [other for other in REGISTRY if option in options_of(other)]
            raise UsageError(f"{option} {value!r} is not for {name}: it is for {', '.join(known)}")
        if value not in OPTIONS[option]:
            raise UsageError(f"unknown {option} {value!r}: choose {', '.join(OPTIONS[option])}")
    rng = np.random.default_rng([seed, 0])  # 0: the purpose "initial weights"
    return REGISTRY[name](classes=classes, dropout=dropout, rng=rng, dtype=dtype, **chosen)


def options_of(name: str) -> list[str]:
    """The options of OPTIONS that the network `name` has."""
    return [option for option in inspect.signature(REGISTRY[name]).parameters if option in OPTIONS]


def pretrained() -> list[str]:
    """The names of the trained networks that come with minidl."""
    return sorted(path.stem for path in WEIGHTS.glob("*.safetensors"))


def weights_file(name: str) -> Path:
    """The checkpoint file of the trained network `name`; for another name, UsageError with the names that exist."""
    if name not in pretrained():
        raise UsageError(
            f"no pretrained network {name!r}: choose {', '.join(pretrained()) or 'none, there are none'}"
        )
    return WEIGHTS / f"{name}.safetensors"


def load_pretrained(name: str) -> Sequential:
    """The trained network `name`; models/weights/README.md says how it was trained, and on which data.

    Its images are x = (pixels / 255 - mean) / std. The mean, std and classes are in
    `minidl.training.checkpoints.load_checkpoint(weights_file(name)).about`.
    """
    from minidl.training.checkpoints import load_checkpoint  # what reads files is slow to import

    return load_checkpoint(weights_file(name)).build(build)
