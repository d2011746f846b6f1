"""What is fuzzed: good examples, how they are changed, and which commands of minidl read them."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

import models
import train
import visualize
from minidl.data import check_data, load_dataset
from minidl.data.images import read_image
from minidl.exchange.torch_file import read_torch_file
from minidl.exchange.torch_writer import write_state_dict
from minidl.storage.weights import model_arrays, pack_arrays, save_arrays, to_torch_state_dict
from minidl.training.config import Config
from minidl.training.search import Plan
from minidl.training.study import create_search, open_study
from tests.exchange.zoo import GOLDEN, stream_of
from tests.fuzz import mutations as m
from tests.tiny_fixture import make_folders, make_tiny, tar_folder, write_image, zip_folder

ROW = {"epoch": 1, "train_loss": 1.0, "train_top1": 0.5, "val_loss": 1.0, "val_top1": 0.5, "val_top5": 1.0}
ROW |= {"lr": 1e-3, "images_per_s": 1.0, "seconds": 1.0}
QUICK = ["--threads", "1", "--engine", "plain"]


@dataclass
class Target:
    """`examples` by file name; `run` is given the name and the changed file, and returns an exit code."""

    examples: dict[str, bytes]
    run: Callable[[str, Path], int]
    changes: dict[str, Callable]  # by the end of the name

    def change(self, rng: random.Random, name: str, content: bytes) -> bytes:
        """A hostile file made of `content`, which a good one called `name` has become."""
        others = list(self.examples.values())
        change = next((change for end, change in self.changes.items() if name.endswith(end)), m.any_bytes)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a zip that has the same name twice
                return change(rng, content, others)
        except Exception:  # an earlier change has left nothing to understand
            return m.any_bytes(rng, content, others)


def _load(path: Path, size: int) -> int:
    """Checks a data set, and packs and opens it: the worse answer of the two."""
    report = check_data(path, image_size=size, progress=False)
    str(report)
    data = load_dataset(path, image_size=size, progress=False)
    data.train.images(np.arange(len(data.train)))
    return 0


def images(root: Path) -> Target:
    examples = {}
    rgb = Image.open(write_image(root / "a.png", size=(40, 30)))
    kinds = {"JPEG": {}, "PNG": {}, "BMP": {}, "GIF": {}, "WEBP": {}, "TIFF": {"compression": "tiff_lzw"}, "PPM": {}}
    for kind, options in kinds.items():
        for mode in ("RGB", "L", "P", "RGBA", "CMYK", "I;16", "1"):
            file = io.BytesIO()
            with contextlib.suppress(OSError, ValueError, KeyError):
                changed = rgb.convert("L").convert("I").convert(mode) if mode == "I;16" else rgb.convert(mode)
                changed.save(file, kind, **options)
                examples[f"{kind}-{mode.replace(';', '')}.{kind.lower()}"] = file.getvalue()
    for name, kind, options in (
        ("progressive.jpeg", "JPEG", {"progressive": True}),
        ("jpeg.tiff", "TIFF", {"compression": "jpeg"}),
        ("deflate.tiff", "TIFF", {"compression": "tiff_adobe_deflate"}),
        ("two.gif", "GIF", {"save_all": True, "append_images": [rgb.rotate(90)]}),
        ("two.png", "PNG", {"save_all": True, "append_images": [rgb.rotate(90)]}),
        ("two.mpo.jpeg", "MPO", {"save_all": True, "append_images": [rgb.rotate(90)]}),
        ("lossless.webp", "WEBP", {"lossless": True}),
        ("turned.jpeg", "JPEG", {"exif": b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"}),
    ):
        file = io.BytesIO()
        rgb.save(file, kind, **options)
        examples[name] = file.getvalue()

    def run(name: str, path: Path) -> int:
        photo = shutil.copy(path, f"photo{Path(name).suffix}")
        read_image(photo, 64)
        return 0

    return Target(examples, run, {".png": _either(m.png)})


def _either(change: Callable) -> Callable:
    return lambda rng, data, others: (change if rng.random() < 0.5 else m.any_bytes)(rng, data, others)


def archives(root: Path) -> Target:
    tiny = make_tiny(root / "tiny", train=2, val=1, test=1)
    folders = make_folders(root / "folders", train=2, val=1, size=(20, 16))
    files = [zip_folder(tiny, root / "tiny.zip"), zip_folder(folders, root / "folders.zip", "")]
    files += [tar_folder(tiny, root / "tiny.tar"), tar_folder(folders, root / "folders.tar.gz")]

    def run(name: str, path: Path) -> int:
        return _load(Path(shutil.copy(path, name)), 64 if "tiny" in name else 16)

    return Target({f.name: f.read_bytes() for f in files}, run, {"": m.archive})


def annotations(root: Path) -> Target:
    tiny = make_tiny(root / "tiny", train=2, val=1, test=1)
    files = ["wnids.txt", "words.txt", "val/val_annotations.txt", "train/n00000001/n00000001_boxes.txt"]

    def run(name: str, path: Path) -> int:
        shutil.copytree(tiny, "tiny")
        shutil.copy(path, Path("tiny") / name)
        return _load(Path("tiny"), 64)

    return Target({name: (tiny / name).read_bytes() for name in files}, run, {"": _either(m.lines)})


def _checkpoint(path: Path, data: str) -> Path:
    net, classes = models.build("convnet", classes=2), ["cat", "dog"]
    config = Config(model="convnet", data=data, image_size=16, batch_size=4, epochs=2).as_dict()
    about = {"model": "convnet", "classes": classes, "words": classes, "image_shape": [16, 16, 3], "config": config}
    about |= {"mean": [0.5] * 3, "std": [0.25] * 3}
    state = {"epoch": 1, "batch": 0, "step": 1, "history": [ROW], "best_epoch": 1, "best_top1": 0.5}
    header = json.dumps({"format": 1, "about": about, "state": state})
    save_arrays(path, {k: np.asarray(v) for k, v in model_arrays(net).items()}, {"minidl": header})
    return path


def checkpoints(root: Path) -> Target:
    folders = make_folders(root / "data", train=2, val=1, size=(16, 16))
    file, photo = _checkpoint(root / "a.safetensors", str(folders)), str(folders / "val" / "cat" / "0.png")

    def run(name: str, path: Path) -> int:
        shutil.copy(path, name)
        commands = [
            lambda: train.main(["export", name, "--output", "out.safetensors"]),
            lambda: visualize.main(["layers", name]),
            lambda: train.main(["predict", name, photo, *QUICK]),
            lambda: train.main(["eval", name, "--data", str(folders), *QUICK]),
            lambda: visualize.main(["history", name, "--output", "."]),
        ]
        return _worst(commands[: 5 if path.stat().st_mtime_ns % 4 == 0 else 3])

    return Target({file.name: file.read_bytes()}, run, {"": m.safetensors})


def torch_files(root: Path) -> Target:
    arrays = to_torch_state_dict(models.build("convnet", classes=2))
    write_state_dict(root / "net.pth", arrays)
    examples = {path.name: path.read_bytes() for path in sorted(GOLDEN.glob("*.pth"))}
    examples |= {"net.pth": (root / "net.pth").read_bytes(), "net-stream.pth": stream_of(arrays)}
    examples["net.safetensors"] = pack_arrays(arrays, {"format": "pt"})

    def run(name: str, path: Path) -> int:
        if name.startswith("net"):
            return train.main(["import-torch", str(path), "--model", "convnet", "--image-size", "16"])
        [a.dtype for a in read_torch_file(path).values()]
        return 0

    return Target(examples, run, {".safetensors": m.safetensors, "": m.torch_file})


def study(root: Path) -> Target:
    row = {**ROW, "train_top1": 0.5}
    plan = Plan(Config(model="convnet", subset=0.1, epochs=1), trials=3)
    folder = create_search(root, "search", plan)
    with open_study(folder, plan) as opened:
        for diverged in (False, True):
            opened.finish(opened.next(), [row], diverged)
    files = {name: (folder / name).read_bytes() for name in ("study.db", "search.json")}

    def run(name: str, path: Path) -> int:
        Path("search").mkdir()
        for other, content in files.items():
            (Path("search") / other).write_bytes(content)
        shutil.copy(path, Path("search") / name)
        return visualize.main(["search", "search", "--output", "."])

    return Target(files, run, {".db": m.database, ".json": m.json_text})


def config(root: Path) -> Target:
    folders, run_folder = make_folders(root / "data", train=8, val=4, size=(16, 16)), root / "run"
    flags = ["--model", "convnet", "--image-size", "16", "--batch-size", "4", "--epochs", "2", *QUICK]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert train.main([*flags, "--data", str(folders), "--output", str(root), "--name", "run"]) == 0
    names = ("config.json", "data.json")

    def run(name: str, path: Path) -> int:
        shutil.copytree(run_folder, "run")
        shutil.copy(path, Path("run") / name)
        commands = [
            lambda: train.main(["fit", "--resume", "run", "--dry-run"]),
            lambda: visualize.main(["layers", "run"]),
        ]
        return _worst(commands)

    return Target({name: (run_folder / name).read_bytes() for name in names}, run, {"": m.json_text})


def _worst(commands: list[Callable[[], int]]) -> int:
    """Runs all; an internal error (1) is the worst answer."""
    codes = [command() for command in commands]
    return 1 if 1 in codes else max(codes)


TARGETS = {f.__name__: f for f in (images, archives, annotations, checkpoints, torch_files, study, config)}
os.environ.setdefault("OMP_NUM_THREADS", "1")
