"""minidl: a deep-learning framework in NumPy and CuPy whose every backward pass can be read.

    import minidl as md

    data = md.load_shapes(train=2000, val=200)
    model = md.models.build("convnet", classes=len(data.classes))
    print(md.summary(model, data.image_shape))

The public names are those in `__all__` here, and in minidl.layers, data, engine, models, schedules, losses, optim and
errors. All other names may change. Modules that take long to import are imported when they are first used.
"""

from importlib import import_module as _import_module
from pathlib import Path as _Path
from sys import modules as _modules
from typing import TYPE_CHECKING, Any

from minidl import schedules
from minidl.diagnostics.gradcheck import gradcheck
from minidl.diagnostics.summary import summary
from minidl.diagnostics.trace import trace
from minidl.errors import MinidlError
from minidl.layers import (
    INFER,
    PROBE,
    TRAIN,
    AdaptiveAvgPool2D,
    AvgPool2D,
    BatchNorm2D,
    Concat,
    Context,
    Conv2D,
    Dropout,
    Flatten,
    GeneralAvgPool2D,
    GeneralConv2D,
    GeneralMaxPool2D,
    GlobalAvgPool,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2D,
    Mode,
    Parameter,
    ReLU,
    Residual,
    Rule,
    Sequential,
    SideHead,
    Sigmoid,
    SiLU,
    Tanh,
    freeze,
)
from minidl.layers.convert import convert
from minidl.losses import binary_cross_entropy, softmax, softmax_cross_entropy, top_k_correct
from minidl.optim import SGD, Adam, AdamW
from minidl.version import __version__

if TYPE_CHECKING:  # the same as in _LATER, for editors and type checkers
    from minidl import data, engine, learn, models
    from minidl.atlas.own import make_atlas
    from minidl.data import Loader, channel_statistics, denormalise, load_dataset, load_shapes, normalise
    from minidl.engine import fuse, prepare
    from minidl.exchange.own import save_onnx
    from minidl.exchange.torch_file import read_torch_file
    from minidl.explain.own import explain_unit
    from minidl.models import Run
    from minidl.storage.weights import load_torch_state_dict, to_torch_state_dict
    from minidl.storage.weights import load_weights as load
    from minidl.storage.weights import save_weights as save
    from minidl.training.checkpoints import load_checkpoint
    from minidl.training.evaluation import evaluate
    from minidl.training.loggers import Logging
    from minidl.training.trainer import Trainer
    from minidl.visual.looking import activations, deconv, gradient, guided
    from minidl.visual.picture import picture

_INSIDE = _Path(__file__).parent / "models" / "inception.py"
_BESIDE = _Path(__file__).parents[1] / "models" / "inception.py"
if not _INSIDE.is_file() and _BESIDE.is_file():  # a checkout: minidl.models is the folder models/ beside minidl/
    __path__.append(str(_BESIDE.parents[1]))

_LATER = {  # names that are imported when they are first used, and where they are
    "Loader": "minidl.data.Loader",
    "Logging": "minidl.training.loggers.Logging",
    "Run": "minidl.models.Run",
    "Trainer": "minidl.training.trainer.Trainer",
    "activations": "minidl.visual.looking.activations",
    "channel_statistics": "minidl.data.channel_statistics",
    "data": "minidl.data",
    "deconv": "minidl.visual.looking.deconv",
    "denormalise": "minidl.data.denormalise",
    "evaluate": "minidl.training.evaluation.evaluate",
    "engine": "minidl.engine",
    "explain_unit": "minidl.explain.own.explain_unit",
    "fuse": "minidl.engine.fuse",
    "gradient": "minidl.visual.looking.gradient",
    "guided": "minidl.visual.looking.guided",
    "learn": "minidl.learn",
    "load": "minidl.storage.weights.load_weights",
    "load_checkpoint": "minidl.training.checkpoints.load_checkpoint",
    "load_dataset": "minidl.data.load_dataset",
    "load_shapes": "minidl.data.load_shapes",
    "load_torch_state_dict": "minidl.storage.weights.load_torch_state_dict",
    "make_atlas": "minidl.atlas.own.make_atlas",
    "models": "minidl.models",
    "normalise": "minidl.data.normalise",
    "picture": "minidl.visual.picture.picture",
    "prepare": "minidl.engine.prepare",
    "read_torch_file": "minidl.exchange.torch_file.read_torch_file",
    "save": "minidl.storage.weights.save_weights",
    "save_onnx": "minidl.exchange.own.save_onnx",
    "to_torch_state_dict": "minidl.storage.weights.to_torch_state_dict",
}

__all__ = [
    "INFER",
    "PROBE",
    "SGD",
    "TRAIN",
    "Adam",
    "AdamW",
    "AdaptiveAvgPool2D",
    "AvgPool2D",
    "BatchNorm2D",
    "Concat",
    "Context",
    "Conv2D",
    "Dropout",
    "Flatten",
    "GeneralAvgPool2D",
    "GeneralConv2D",
    "GeneralMaxPool2D",
    "GlobalAvgPool",
    "Layer",
    "LeakyReLU",
    "Linear",
    "Loader",
    "Logging",
    "MaxPool2D",
    "MinidlError",
    "Mode",
    "Parameter",
    "ReLU",
    "Residual",
    "Rule",
    "Run",
    "Sequential",
    "SiLU",
    "SideHead",
    "Sigmoid",
    "Tanh",
    "Trainer",
    "__version__",
    "activations",
    "binary_cross_entropy",
    "channel_statistics",
    "convert",
    "data",
    "deconv",
    "denormalise",
    "engine",
    "evaluate",
    "explain_unit",
    "freeze",
    "fuse",
    "gradcheck",
    "gradient",
    "guided",
    "learn",
    "load",
    "load_checkpoint",
    "load_dataset",
    "load_shapes",
    "load_torch_state_dict",
    "make_atlas",
    "models",
    "normalise",
    "picture",
    "prepare",
    "read_torch_file",
    "save",
    "save_onnx",
    "schedules",
    "softmax",
    "softmax_cross_entropy",
    "summary",
    "to_torch_state_dict",
    "top_k_correct",
    "trace",
]


_MEANT = {  # what people look for who know another framework, without regard to case
    "batchnormalization": "md.BatchNorm2D",
    "bcewithlogitsloss": "md.binary_cross_entropy(logits, targets)",
    "clip_grad_norm_": "md.Adam(..., clip_norm=1.0), or md.optim.clip_norm(parameters, 1.0)",
    "crossentropyloss": "md.softmax_cross_entropy(logits, labels)",
    "cross_entropy": "md.softmax_cross_entropy(logits, labels)",
    "dataloader": "md.Loader((images, labels), 32, ...)",
    "dense": "md.Linear",
    "depthwiseconv2d": "md.GeneralConv2D(channels, channels, 3, groups=channels)",
    "globalaveragepooling2d": "md.GlobalAvgPool",
    "globalavgpool2d": "md.GlobalAvgPool",
    "maxpooling2d": "md.MaxPool2D",
    "model": "md.Sequential({...}), or a class of md.Layer",
    "module": "md.Layer",
    "swish": "md.SiLU",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        own = {known.lower(): f"md.{known}" for known in __all__}
        meant = (own | _MEANT).get(name.lower())
        hint = f": write {meant}" if meant else ""
        raise AttributeError(f"module 'minidl' has no attribute {name!r}{hint}", name=name, obj=_modules[__name__])
    module, _, last = _LATER[name].rpartition(".")
    value = _import_module(_LATER[name]) if module == "minidl" else getattr(_import_module(module), last)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
