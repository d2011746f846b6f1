"""minidl on an NVIDIA GPU: first whether it computes what NumPy computes, then its speed beside torch's with cuDNN.

    python -m benchmarks.gpu [--quick] [--json PATH] [--batch-sizes 32 128 256] [--threads N] [--rounds 7]
                             [--steps 10] [--results FOLDER]

The refined net in float32, with TF32 off on both sides. A step is complete, as in `python -m benchmarks`; its images
are on the device already. CUDA events time rounds of `--steps` steps, which go from one contender to the next; the
first round warms up, and the report has medians. If torch is missing or sees no GPU, minidl runs alone. Each kernel
is compared with NumPy on the tests' cases, which needs the test extra. No speed is measured if anything differs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.util import find_spec
from statistics import median
from types import ModuleType
from typing import Any, Protocol

import numpy as np

import models
from benchmarks.cli import as_json, conditions, flags, results_folder, run, settings, table, write
from benchmarks.machine import describe
from benchmarks.minidl_step import MiniDL
from benchmarks.settings import CLASSES, DROPOUT, LEARNING_RATE, WEIGHT_DECAY
from minidl.backend.arrays import get_backend, to_device
from minidl.cli.flags import count
from minidl.errors import MinidlError, UsageError
from minidl.layers import TRAIN
from minidl.layers.convert import convert
from minidl.losses import softmax_cross_entropy
from minidl.optim import Adam

BOUNDS = {"float32": 1e-5, "float64": 1e-12}  # of a kernel, relative to the largest entry
STEPS, LOSS_BOUND = 20, 1e-10  # of training in float64


class DifferError(MinidlError):
    """The GPU does not compute what NumPy computes (exit code 4)."""

    exit_code = 4


# --------------------------------------------------------------------- parity


def parity(xp: ModuleType) -> dict[str, Any]:
    """The largest difference of each kernel by dtype, and of the losses of STEPS steps; DifferError if too large."""
    from tests.cuda.device import largest_difference
    from tests.kernels.test_kernels import KERNELS

    kernels = {
        name: {dtype: largest_difference(name, np.dtype(dtype).type, xp) for dtype in BOUNDS}
        for name in sorted(KERNELS)
    }
    steps = float(np.abs(np.subtract(losses(np), losses(xp))).max())
    wrong = [f"{n} in {d} by {x:.1e}" for n, by in kernels.items() for d, x in by.items() if not x <= BOUNDS[d]]
    if not steps <= LOSS_BOUND:
        wrong.append(f"the losses of {STEPS} steps by {steps:.1e}")
    if wrong:
        raise DifferError(f"the GPU differs from NumPy: {', '.join(wrong)}; please report it with `train.py doctor`")
    return {"kernels": kernels, "losses": steps}


def losses(xp: ModuleType, side: int = 32, batch_size: int = 4) -> list[float]:
    """Of the refined net in float64, trained on random images."""
    model = convert(models.build("refined", CLASSES, dropout=DROPOUT, dtype=np.float64), xp=xp)
    optimizer = Adam(model.named_parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    rng, seen = np.random.default_rng(0), []
    for step in range(STEPS):
        x = to_device(rng.standard_normal((batch_size, side, side, 3)), xp)
        logits, cache = model.forward(x, TRAIN.at_step(step))
        loss, dlogits = softmax_cross_entropy(logits, to_device(rng.integers(0, CLASSES, batch_size), xp), 0.1)
        model.zero_grad()
        model.backward(dlogits, cache, need_dx=False)
        optimizer.step()
        seen.append(loss)
    return [float(loss) for loss in seen]


# ---------------------------------------------------------------------- speed


class Contender(Protocol):
    """`train` and `infer` do one step; `seconds` is the time that the device takes for some work."""

    def train(self, step: int) -> None: ...

    def infer(self, step: int) -> None: ...

    def seconds(self, work: Callable[[], None]) -> float: ...


class OnCuPy(MiniDL):
    """minidl's plain layers on the device."""

    def __init__(self, batch_size: int, threads: int, xp: ModuleType) -> None:
        super().__init__(batch_size, threads, network="refined", fused=False)
        self.xp = xp
        self.model = self.predictor = convert(self.model, xp=xp)
        self.optimizer = Adam(self.model.named_parameters(), lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY)
        self.batches = [(to_device(x, xp), to_device(labels, xp)) for x, labels in self.batches]

    def seconds(self, work: Callable[[], None]) -> float:
        start, end = self.xp.cuda.Event(), self.xp.cuda.Event()
        start.record()
        work()
        end.record()
        end.synchronize()
        return self.xp.cuda.get_elapsed_time(start, end) / 1000


def contenders(batch_size: int, threads: int, xp: ModuleType, torch: bool) -> dict[str, Contender]:
    made: dict[str, Contender] = {"minidl": OnCuPy(batch_size, threads, xp)}
    if torch:
        from benchmarks.torch_gpu import OnCuda

        for name, channels_last in (("torch_nchw", False), ("torch_channels_last", True)):
            made[name] = OnCuda(batch_size, threads, channels_last)
    return made


def why_no_torch() -> str | None:
    """Why torch doesn't take part, in a few words, or None."""
    if find_spec("torch") is None:
        return "it is not installed"
    import torch

    return None if torch.cuda.is_available() else f"version {torch.__version__} sees no GPU"


def alternate(made: dict[str, Contender], what: str, rounds: int, steps: int) -> dict[str, list[float]]:
    """The seconds of each contender's rounds of `steps` steps; the first round warms up."""
    seen: dict[str, list[float]] = {name: [] for name in made}
    for i in range(rounds + 1):
        for name, contender in made.items():
            step = getattr(contender, what)
            taken = contender.seconds(lambda step=step, i=i: [step(i * steps + k) for k in range(steps)])
            if i:
                seen[name].append(taken)
    return seen


def speeds(
    xp: ModuleType, torch: bool, batch_sizes: list[int], threads: int, rounds: int, steps: int
) -> list[dict[str, Any]]:
    """Images a second by batch size and contender: medians, and all rounds."""
    rows = []
    for batch_size in batch_sizes:
        made = contenders(batch_size, threads, xp, torch)
        print(f"batch {batch_size}", file=sys.stderr)
        by = {what: alternate(made, what, rounds, steps) for what in ("train", "infer")}
        for name in made:
            rates = {what: [batch_size * steps / s for s in seen[name]] for what, seen in by.items()}
            row = {f"{what}_img_s": round(median(rate), 1) for what, rate in rates.items()}
            rows.append({"batch_size": batch_size, "name": name, **row, "rounds": rates})
    return rows


# --------------------------------------------------------------------- report


def report(figures: dict[str, Any]) -> str:
    chosen, found = figures["settings"], figures["parity"]
    worst = {d: max((by[d], name) for name, by in found["kernels"].items()) for d in BOUNDS}
    kernels = " and ".join(f"{x:.1e} in {d} ({name})" for d, (x, name) in worst.items())
    rows = [
        [r["batch_size"], r["name"], f"{r['train_img_s']:.1f}", f"{r['infer_img_s']:.1f}"] for r in figures["speed"]
    ]
    left_out = [f"torch took no part: {figures['no_torch']}."] if figures["no_torch"] else []
    return "\n\n".join(
        [
            f"Measured on {figures['gpu']}, the refined net, 64x64 images, float32 without TF32; medians of "
            f"{chosen['rounds']} alternating rounds of {chosen['steps']} steps, timed by CUDA events.",
            table(["batch", "", "train img/s", "inference img/s"], rows),
            *left_out,
            f"Before that, against NumPy: {len(found['kernels'])} kernels differ by at most {kernels}, relative to "
            f"the largest entry; the losses of {STEPS} steps in float64 by {found['losses']:.1e}.",
            conditions(figures),
        ]
    )


def describe_gpu(xp: ModuleType) -> str:
    runtime = xp.cuda.runtime
    about = runtime.getDeviceProperties(runtime.getDevice())
    version = runtime.runtimeGetVersion()
    return f"{about['name'].decode()}, CuPy {xp.__version__}, CUDA {version // 1000}.{version % 1000 // 10}"


def main() -> None:
    parser = flags("benchmarks.gpu", __doc__, rounds=(7, 1), steps=(10, 1))
    parser.add_argument("--batch-sizes", type=count, nargs="+", metavar="N", help="default 32 128 256")
    args = parser.parse_args()
    sizes = args.batch_sizes or ([16] if args.quick else [32, 128, 256])
    xp = get_backend("cupy")
    if missing := [name for name in ("pytest", "hypothesis") if find_spec(name) is None]:
        raise UsageError(f"not installed: {', '.join(missing)}; pip install -e '.[test]' brings it")
    chosen, no_torch = settings(parser, args), why_no_torch()
    figures = {
        "gpu": describe_gpu(xp),
        "machine": describe(),
        "settings": chosen,
        "no_torch": no_torch,
        "parity": parity(xp),
        "speed": speeds(xp, not no_torch, sizes, *(chosen[name] for name in ("threads", "rounds", "steps"))),
    }
    print(report(figures))
    if args.json:
        write(args.json, as_json(figures))
    if folder := results_folder(args):
        write(folder / "gpu.json", as_json(figures))
        write(folder / "gpu.md", f"# On a GPU\n\nWritten by `python -m benchmarks.gpu`.\n\n{report(figures)}\n")


if __name__ == "__main__":
    run(main)
