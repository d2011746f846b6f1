"""Every network that torchvision has too, against torchvision's: names, counts, logits and input gradients.

    python -m benchmarks.torchvision_parity [NAME ...] [--golden] [--sides 64 224] [--smooth]

Needs torch and torchvision. --golden writes what the tests compare without them, tests/models/golden/*.json.

A network of torchvision gets seeded random weights and running statistics, and minidl's gets the same through
`load_torch_state_dict`. Both run without dropout, in the modes INFER and TRAIN, on both engines. An error is the norm
of the difference over the norm.

In float32 a number near 0 may fall on the other side of a ReLU or a pool, and batch statistics of a few numbers
magnify what is rounded. One such number in a map of 2x2 moves the input gradient of TRAIN mode by a hundredth. So
torchvision's own float32 is compared with its float64, and ten times its error is allowed. With --smooth both sides
have SiLU in place of ReLU: then only pools are left to choose, and TRAIN mode is held to the same bars.
"""

from __future__ import annotations

import argparse
import gc
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torchvision

import models
from minidl.engine import fuse
from minidl.exchange.snippets import TORCHVISION
from minidl.layers import PROBE, TRAIN, Layer
from minidl.layers.convert import convert
from minidl.storage.files import atomic
from minidl.storage.metadata import to_json
from minidl.storage.weights import load_torch_state_dict, to_torch_state_dict
from tests.models.by_name import CLASSES, array_of, checksum, gradient, images, undrawn

GOLDEN = Path(__file__).parent.parent / "tests" / "models" / "golden"
IMAGES = {64: 2, 224: 1}  # by side
BARS = {np.float64: 1e-10, np.float32: 1e-4}
KINKS = 0.1  # of the input gradient in TRAIN mode and float32
OWN = 10  # times torchvision's own error in float32


class Result(NamedTuple):
    logits: np.ndarray  # (N, K), or (N, J, K)
    dx: np.ndarray


def options(name: str) -> dict[str, str]:
    return {"stem": "imagenet"} if "stem" in models.registry.options_of(name) else {}


def ours(name: str, activation: str) -> Layer:
    with undrawn():
        return models.build(name, CLASSES, activation=activation, **options(name))


def theirs(name: str) -> torch.nn.Module:
    kind = getattr(torchvision.models, TORCHVISION[name])
    if name == "googlenet":
        return kind(num_classes=CLASSES, aux_logits=True, transform_input=False, dropout=0, dropout_aux=0,
                    init_weights=False)  # fmt: skip
    return kind(num_classes=CLASSES, **({"dropout": 0, "init_weights": False} if name.startswith("vgg") else {}))


def seeded(net: torch.nn.Module, seed: int) -> torch.nn.Module:
    """The network with random weights, biases and running statistics by torch's generator."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for key, a in net.state_dict().items():
            if a.ndim > 1:
                a.normal_(0, (2 / a[0].numel()) ** 0.5)
            elif key.endswith(("bias", "running_mean")):
                a.normal_(0, 0.1)
            elif a.is_floating_point():
                a.uniform_(0.5, 1.5)
    return net


def torch_pass(net: torch.nn.Module, x: np.ndarray, training: bool) -> Result:
    net.train(training)
    kept = {key: a.clone() for key, a in net.state_dict().items() if "running" in key or "num_batches" in key}
    x = torch.from_numpy(x).permute(0, 3, 1, 2).contiguous().requires_grad_()
    y = net(x)
    if isinstance(y, tuple):
        y = torch.stack(tuple(y), dim=1)  # logits, aux_logits2, aux_logits1: minidl's order
    y.backward(torch.from_numpy(gradient(tuple(y.shape))).to(y.dtype))
    net.load_state_dict(kept, strict=False)  # so that the next pass begins with the same statistics
    return Result(y.detach().numpy(), x.grad.permute(0, 2, 3, 1).numpy())


def minidl_pass(net: Layer, x: np.ndarray, training: bool) -> Result:
    statistics = {name: b.copy() for name, b in net.named_buffers().items()}
    y, cache = net.forward(x, TRAIN.at_step(0) if training else PROBE)
    if not training:
        np.testing.assert_allclose(net(x), y, rtol=0, atol=1e-3 * np.abs(y).max())  # INFER
        y = net(x)
    dy = gradient(y.shape).astype(y.dtype)
    dx = net.backward(dy, cache) if training else net.input_grad(dy, cache)
    for name, b in net.named_buffers().items():
        b[...] = statistics[name]
    return Result(y, dx)


def error(a: np.ndarray, b: np.ndarray) -> float:
    """The norm of the difference over the norm of b."""
    return float(np.linalg.norm((a - b).ravel().astype(np.float64)) / np.linalg.norm(b.ravel().astype(np.float64)))


def compare(name: str, sides: list[int], smooth: bool) -> bool:
    """Prints a line for each comparison; returns whether all hold."""
    net, plain = seeded(theirs(name), seed=7).requires_grad_(False), ours(name, "silu" if smooth else "relu")
    modes = (False, True) if plain.named_buffers() else (False,)  # without BN and dropout both do the same
    state = {key: a for key, a in net.state_dict().items() if not key.endswith("num_batches_tracked")}
    own = to_torch_state_dict(plain)
    same = {key: tuple(a.shape) for key, a in state.items()} == {key: a.shape for key, a in own.items()}
    counts = [sum(p.numel() for p in net.parameters()), sum(p.size for p in plain.named_parameters().values())]
    print(f"{name}: {len(state)} names and shapes {'equal' if same else 'DIFFER'}, parameters {counts}", flush=True)
    fine = same and counts[0] == counts[1]
    load_torch_state_dict(plain, state)
    del own, state
    exact: dict[tuple[int, bool], Result] = {}
    for dtype, least in BARS.items():
        net = net.double() if dtype is np.float64 else net.float()
        model = convert(plain, dtype=dtype)
        for side in sides:
            x = images(IMAGES.get(side, 2), side).astype(dtype)
            for training in modes:
                want = torch_pass(net, x, training)
                right = exact.setdefault((side, training), want)
                rounding = [error(a, b) for a, b in zip(want, right, strict=True)]  # 0 in float64
                bars = [max(least, OWN * e) for e in rounding]
                bars[1] = max(bars[1], KINKS if training and dtype is np.float32 and not smooth else 0)
                for engine, running in (("plain", model), ("fused", fuse(model))):
                    start = time.monotonic()
                    got = minidl_pass(running, x, training)
                    errors = [error(a, b) for a, b in zip(got, want, strict=True)]
                    holds = got.logits.shape == want.logits.shape and all(map(float.__lt__, errors, bars))
                    fine &= holds
                    print(
                        f"  {np.dtype(dtype).name} {side:3} {'TRAIN' if training else 'INFER'} {engine}: logits "
                        f"{want.logits.shape} {errors[0]:.1e}, dx {errors[1]:.1e}"
                        + (f", torchvision's own {rounding[0]:.1e}, {rounding[1]:.1e}" if any(rounding) else "")
                        + f"{'' if holds else ' ABOVE THE BAR'} ({time.monotonic() - start:.1f} s)",
                        flush=True,
                    )
        del model
        gc.collect()
    return fine


def golden(name: str) -> dict[str, Any]:
    """What the tests compare: torchvision's names and shapes, and some numbers of its passes in float64."""
    net = theirs(name)
    state = {key: a for key, a in net.state_dict().items() if not key.endswith("num_batches_tracked")}
    shapes = {key: tuple(a.shape) for key, a in state.items()}
    net.load_state_dict({key: torch.from_numpy(array_of(key, shape)) for key, shape in shapes.items()}, strict=False)
    del state
    found: dict[str, Any] = {
        "torchvision": f"{torchvision.__version__.split('+')[0]} {TORCHVISION[name]}",
        "parameters": sum(p.numel() for p in net.parameters()),
        "arrays": len(shapes),
        "names_and_shapes_sha256": checksum(shapes),
        "first": [f"{key} {shape}" for key, shape in list(shapes.items())[:3]],
        "last": [f"{key} {shape}" for key, shape in list(shapes.items())[-2:]],
    }
    net = net.double().requires_grad_(False)
    for mode in ("infer", "train"):
        result = torch_pass(net, images(2, 64).astype(np.float64), mode == "train")
        logits = result.logits if result.logits.ndim == 3 else result.logits[:, None]
        found[mode] = {
            "logits[:, :, ::50]": _rounded(logits[..., ::50]),
            "logits norm": _rounded(np.linalg.norm(logits)),
            "dx[:, 3::16, 5::16, 0]": _rounded(result.dx[:, 3::16, 5::16, 0]),
            "dx norm": _rounded(np.linalg.norm(result.dx)),
        }
    return found


def _rounded(a: np.ndarray) -> Any:
    return np.vectorize(lambda v: float(f"{v:.8g}"))(a).tolist()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(TORCHVISION)} (default: all)")
    parser.add_argument("--golden", action="store_true", help="write the golden files and compare nothing")
    parser.add_argument("--sides", type=int, nargs="+", default=list(IMAGES), help="of the images (default 64 224)")
    parser.add_argument("--smooth", action="store_true", help="compare with SiLU in place of ReLU")
    args = parser.parse_args()
    if args.smooth:
        torch.nn.functional.relu = lambda x, inplace=False: torch.nn.functional.silu(x)  # which torch.nn.ReLU calls
    torch.set_num_threads(2)
    fine = True
    for name in args.names or TORCHVISION:
        if args.golden:
            with atomic(GOLDEN / f"{name}.json") as temporary:
                temporary.write_text(to_json(golden(name)) + "\n")
            print(f"{name}: {GOLDEN / name}.json")
        else:
            fine &= compare(name, args.sides, args.smooth)
        gc.collect()
    return 0 if fine else 1


if __name__ == "__main__":
    raise SystemExit(main())
