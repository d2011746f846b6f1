"""The programs: `minidl`, and `train.py` and `visualize.py` at the top of the repository."""

from __future__ import annotations

from minidl.cli.atlas import ATLAS
from minidl.cli.data import CHECK_DATA, DOWNLOAD, EXPORT_SHAPES, SHOW_BATCH
from minidl.cli.explain import EXPLAIN
from minidl.cli.export import EXPORT
from minidl.cli.features import PCA, TSNE
from minidl.cli.find_lr import FIND_LR
from minidl.cli.import_torch import IMPORT_TORCH
from minidl.cli.learn import LEARN
from minidl.cli.machine import DOCTOR
from minidl.cli.overview import HISTORY, LAYERS, SEARCH_PLOT
from minidl.cli.parser import Program
from minidl.cli.saliency import GRADCAM, OCCLUSION
from minidl.cli.search import SEARCH
from minidl.cli.train import TRAIN
from minidl.cli.units import DECONV, GRADIENT, GUIDED, TOP
from minidl.cli.use import EVAL, PREDICT

UNITS = {"top": TOP, "gradient": GRADIENT, "guided": GUIDED, "deconv": DECONV}
CLASSES = {"occlusion": OCCLUSION, "gradcam": GRADCAM}
FEATURES = {"pca": PCA, "tsne": TSNE}
DATA = {"show-batch": SHOW_BATCH, "check-data": CHECK_DATA, "download": DOWNLOAD, "export-shapes": EXPORT_SHAPES}

MINIDL = Program(
    "minidl",
    "Train, evaluate and use the networks, and look inside them. RUN is a run folder or a checkpoint file, or "
    "`--pretrained refined` in its place.",
    {
        "Start here:": {"train": TRAIN, "eval": EVAL, "predict": PREDICT, "atlas": ATLAS, "doctor": DOCTOR},
        "Learn:": {"learn": LEARN},
        "Settings:": {"find-lr": FIND_LR, "search": SEARCH, "search-plot": SEARCH_PLOT},
        "Data:": DATA,
        "A run and its network:": {"history": HISTORY, "layers": LAYERS, "export": EXPORT},
        "Weights of others:": {"import-torch": IMPORT_TORCH},
        "Units, features and classes:": {
            **UNITS, **FEATURES, **CLASSES, "explain": EXPLAIN
        },
    },
    aliases={"fit": "train"},
)  # fmt: skip

_TRAIN = {"fit": TRAIN, "search": SEARCH, "find-lr": FIND_LR, "eval": EVAL, "predict": PREDICT, "export": EXPORT}
_TRAIN |= {"import-torch": IMPORT_TORCH, **DATA, "learn": LEARN, "doctor": DOCTOR}
_VISUALIZE = {
    "atlas": ATLAS,
    "explain": EXPLAIN,
    "history": HISTORY,
    "layers": LAYERS,
    "search": SEARCH_PLOT,
    **FEATURES,
    **UNITS,
    **CLASSES,
}
_TYPED = {
    **{name: f"python visualize.py {name}" for name in _VISUALIZE},
    **{name: f"python train.py {name}" for name in _TRAIN},
    "train": "python train.py",
    "search-plot": "python visualize.py search",
}
TRAIN_PY = Program(
    "train.py",
    "Train, evaluate and use the networks: `python train.py`, `python train.py --help`.",
    {"Commands:": _TRAIN},
    default="fit",
    typed=_TYPED,
)
VISUALIZE_PY = Program(
    "visualize.py",
    "Look inside a trained network: `python visualize.py COMMAND RUN`, `python visualize.py --help`.",
    {"Commands:": _VISUALIZE},
    typed=_TYPED,
)
