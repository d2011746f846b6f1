"""Exported networks in ONNX Runtime and OpenVINO: the same answers as minidl's.

    python -m benchmarks.exported --data DATA [--quick] [--results FOLDER]     the shipped network on all of val
    python -m benchmarks.exported --seeded [NAME ...]                          the others, with seeded weights

It needs `.[benchmarks]`. The shipped network is exported with batch normalization kept and folded, and its top-1 on
the real images of Tiny ImageNet compared. Every image on which a runtime decides otherwise is listed with the margin
between the two largest logits; the bar is a margin below 1e-4. Of the other networks the logits are compared, on
random images; their running statistics are those of one batch.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
import openvino

import models
from benchmarks.cli import RESULTS, run, table, write_page
from benchmarks.machine import cores
from minidl.engine import prepare
from minidl.exchange.own import save_onnx
from minidl.layers import INFER, TRAIN, BatchNorm2D, Layer
from minidl.text.progress import Progress
from minidl.training import run_data
from minidl.training.checkpoints import load_checkpoint

Answer = Callable[[np.ndarray], np.ndarray]  # images (N, 3, H, W) -> logits (N, K)
MARGIN = 1e-4
SIDE, CLASSES = 64, 200


class Seen(NamedTuple):
    """One runtime beside minidl, over all images."""

    images: int
    right: int
    others: list[tuple[int, float]]  # images with another answer, and minidl's margin there
    worst: float  # largest difference of a logit


def in_onnxruntime(path: Path) -> Answer:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = cores()
    found = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda x: found.run(["logits"], {"images": x})[0]


def in_openvino(path: Path) -> Answer:
    core = openvino.Core()
    settings = {"INFERENCE_NUM_THREADS": cores(), "INFERENCE_PRECISION_HINT": "f32"}
    found = core.compile_model(core.read_model(path), "CPU", settings)
    return lambda x: found(x)[0]


RUNTIMES = {"ONNX Runtime": in_onnxruntime, "OpenVINO": in_openvino}


def runtimes(model: Layer, side: int, folder: Path) -> Iterator[tuple[str, Answer]]:
    """Every runtime with every form of the file."""
    for fold in (False, True):
        path = folder / f"{fold}.onnx"
        save_onnx(path, model, (side, side, 3), fold_bn=fold)
        for name, start in RUNTIMES.items():
            yield f"{name}, BN {'folded' if fold else 'kept'}", start(path)
        path.unlink()


def shipped(data: str, quick: bool, folder: Path) -> tuple[int, dict[str, Seen]]:
    """How often minidl is right on val, and every runtime beside it."""
    checkpoint = load_checkpoint(models.weights_file("refined"))
    model = checkpoint.build(models.build)
    images = run_data.saved_data(checkpoint, data)
    engine = prepare(model)
    answers = dict(runtimes(model, SIDE, folder))
    seen = {name: Seen(0, 0, [], 0.0) for name in answers}
    right, start = 0, 0
    with Progress("comparing", len(images.val), "image") as bar:
        for x, labels in images.loader(images.val).epoch(0):
            ours, _ = engine.forward(x, INFER)
            best = ours.argmax(1)
            two = np.sort(ours, axis=1)[:, -2:]
            right += int((best == labels).sum())
            first = np.ascontiguousarray(x.transpose(0, 3, 1, 2))  # (N, H, W, 3) -> (N, 3, H, W)
            for name, answer in answers.items():
                theirs, before = answer(first), seen[name]
                other = np.flatnonzero(theirs.argmax(1) != best)
                seen[name] = Seen(
                    before.images + len(x),
                    before.right + int((theirs.argmax(1) == labels).sum()),
                    before.others + [(start + int(i), float(two[i, 1] - two[i, 0])) for i in other],
                    max(before.worst, float(abs(theirs - ours).max())),
                )
            start += len(x)
            bar.add(len(x))
            if quick and start >= 500:
                break
    return right, seen


def report(right: int, seen: dict[str, Seen]) -> str:
    images = next(iter(seen.values())).images
    rows = [["minidl", f"{right:,}", "", ""]]
    rows += [[name, f"{s.right:,}", len(s.others), f"{s.worst:.1e}"] for name, s in seen.items()]
    lines = [table(["", f"right of {images:,}", "other answers", "largest difference of a logit"], rows), ""]
    for name, s in seen.items():
        lines += [f"{name}: image {i} of val, margin {margin:.1e}" for i, margin in s.others]
    return "\n".join(lines)


def seeded(names: list[str], folder: Path) -> str:
    """The largest difference of a logit of each network, with the largest logit beside it."""
    rows = []
    for name in names:
        rng = np.random.default_rng(0)
        model, x = models.build(name, CLASSES, seed=1), rng.standard_normal((4, SIDE, SIDE, 3), dtype=np.float32)
        for layer in model.leaves():
            if isinstance(layer, BatchNorm2D):
                layer.momentum = 1.0  # running statistics are those of the next batch
        model.forward(rng.standard_normal((16, SIDE, SIDE, 3), dtype=np.float32), TRAIN.at_step(0))
        ours, first = model(x), np.ascontiguousarray(x.transpose(0, 3, 1, 2))
        worst = {n: float(abs(answer(first) - ours).max()) for n, answer in runtimes(model, SIDE, folder)}
        rows.append([name, f"{abs(ours).max():.1f}", *(f"{v:.1e}" for v in worst.values())])
        print(*rows[-1], flush=True)
    return table(["network", "largest logit", *worst], rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.exported", description=__doc__.splitlines()[0])
    parser.add_argument("--data", help="Tiny ImageNet, as train.py's")
    parser.add_argument("--seeded", nargs="*", choices=tuple(models.REGISTRY), metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="500 images only")
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="default: benchmarks/results")
    args = parser.parse_args()
    if args.data is None and args.seeded is None:
        parser.error("give --data or --seeded")
    with tempfile.TemporaryDirectory() as folder:
        if args.data:
            text, file = report(*shipped(args.data, args.quick, Path(folder))), "exported.md"
            command = "python -m benchmarks.exported --data DATA"
        else:
            text, file = seeded(args.seeded or list(models.REGISTRY), Path(folder)), "exported_seeded.md"
            command = " ".join(["python -m benchmarks.exported --seeded", *args.seeded])
    print(text)
    if not args.quick:
        write_page(args.results / file, "Exported networks", command, text)


if __name__ == "__main__":
    run(main)
