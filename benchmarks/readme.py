"""Writes README's figures of speed from those in benchmarks/results/.

    python -m benchmarks.readme

It replaces what stands between the two marks, and nothing else. `machines.json` has figures of other machines, kept
by hand: the runs that are named there.
"""

from __future__ import annotations

import json
import re
import textwrap
from pathlib import Path
from typing import Any

from benchmarks.cli import RESULTS, run, table, write
from benchmarks.compare import OURS, SPEEDS, best_other, least_of_torch, times
from benchmarks.report import WORDS
from benchmarks.rounds import ROOT
from minidl.errors import DataError

README = ROOT / "README.md"
START, END = "<!-- written by python -m benchmarks.readme -->", "<!-- until here -->"
LABELS = {
    "minidl": ("minidl, fused (the default)", ""),
    "minidl_plain": ("minidl, plain layers", ""),
    "torch_nchw": ("PyTorch {} eager, its default layout", "torch"),
    "torch_channels_last": ("PyTorch {} eager, channels last", "torch"),
    "torch_compile": ("PyTorch {}, `torch.compile`", "torch"),
    "torch_bf16": ("PyTorch {}, bf16 autocast, channels last", "torch"),
    "jax": ("JAX {}", "jax"),
    "onnxruntime": ("ONNX Runtime {}", "onnxruntime"),
    "openvino": ("OpenVINO {}", "openvino"),
}
DEFAULTS = {"rounds": 7, "steps": 3}  # of `python -m benchmarks`
NETWORKS = {"vgg": "VGG-like", "resnet18": "ResNet-18"}


def block(results: Path) -> str:
    """All that stands between the marks."""
    found = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(results.glob("*.json"))}
    refined, networks = found["refined"], {name: found[name] for name in NETWORKS if name in found}
    parts = [main_part(refined)]
    if "batches" in found:
        parts.append(batches_part(found["batches"]))
    if networks:
        parts.append(networks_part(networks))
    parts.append(machines_part(refined, found.get("machines", [])))
    return "\n\n".join(parts)


# ------------------------------------------------------------------------ parts


def main_part(figures: dict[str, Any]) -> str:
    machine, chosen = figures["machine"], figures["settings"]
    given = "".join(f" --{name} {chosen[name]}" for name, usual in DEFAULTS.items() if chosen[name] != usual)
    head = (
        f"The refined net, 64x64 images, batch {chosen['batch_size']}, on {machine['cores']} cores of "
        f"{processor(machine)}, {chosen['date']}; the whole training step with dropout, running statistics and Adam, "
        f"in float32 unless bf16 is named. Medians of {chosen['rounds']} alternating rounds (`pip install -e "
        f"'.[benchmarks]'`, then `python -m benchmarks{given}`; all figures in [benchmarks/results]"
        "(benchmarks/results/README.md), why it is so in [docs/fast-engine.md](docs/fast-engine.md)):"
    )
    rows = []
    for name, infer in figures["infer_img_s"].items():
        train, memory = figures["train_img_s"].get(name), figures["peak_rss_mb"].get(name)
        ratios = [ratio(times(figures[key], name)) for key in SPEEDS.values()]
        speeds = ["" if train is None else f"{train:.0f}", ratios[0], f"{infer:.0f}", ratios[1]]
        rows.append([label(name, machine), *speeds, "" if memory is None else f"{memory:,} MB"])
    faster = "minidl: times as fast"
    columns = ["", "training, images/s", faster, "inference, images/s", faster, "peak memory in training"]
    lines = [lines_of(head), "", table(columns, rows)]
    if machine.get("bf16") == "emulated" and "torch_bf16" in figures["infer_img_s"]:
        lines += ["", "This processor has no instructions for bf16: PyTorch emulates it, slowly."]
    return "\n".join(lines)


def batches_part(figures: dict[str, Any]) -> str:
    by_batch, machine = figures["batches"], figures["machine"]
    rows = []
    for what, key in SPEEDS.items():
        rows.append([f"{WORDS[what]}, images/s", *(f"{of[key][OURS]:.0f}" for of in by_batch.values())])
        for bf16, whom in ((False, "the best other in float32"), (True, "PyTorch in bf16")):
            ratios = [ratio(times(of[key], best_other(of[key], bf16))) for of in by_batch.values()]
            if any(ratios):
                rows.append([f"{WORDS[what]}, times {whom}", *ratios])
    head = f"By batch size, on {processor(machine)}, {figures['settings']['date']} (`python -m benchmarks.batches`):"
    picture = "Images per second over the batch size, of minidl and the others, in training and in inference"
    return f"{head}\n\n{table(['minidl', *by_batch], rows)}\n\n![{picture}](benchmarks/results/batches.png)"


def networks_part(by_network: dict[str, dict[str, Any]]) -> str:
    """The other networks: a row each for training and for inference."""
    rows = []
    for network, figures in by_network.items():
        peaks = figures["peak_rss_mb"]
        memory = {"train": f"{peaks[OURS]:,}; {least_of_torch(peaks):,} MB"}
        for what, key in SPEEDS.items():
            speeds = figures[key]
            cells = [f"{NETWORKS[network]} (`--network {network}`), {WORDS[what]}", f"{speeds[OURS]:.0f}"]
            for name in (best_other(speeds), best_other(speeds, bf16=True)):
                words = f"{speeds[name]:.0f} ({label(name, {})})" if name else ""
                cells += [words, ratio(times(speeds, name))]
            rows.append([*cells, memory.get(what, "")])
    head = ["images/s", "minidl", "best of PyTorch, float32", "minidl: times as fast", "PyTorch, bf16"]
    head += ["minidl: times as fast", "peak memory; PyTorch's least"]
    chosen = next(iter(by_network.values()))["settings"]
    return f"Other networks at batch {chosen['batch_size']}, {chosen['date']}:\n\n{table(head, rows)}"


def machines_part(figures: dict[str, Any], others: list[dict[str, Any]]) -> str:
    """The same comparison on all machines it has been run on."""
    here = {"processor": processor(figures["machine"]), "date": figures["settings"]["date"]}
    for what, key in SPEEDS.items():
        for bf16, of in ((False, "fp32"), (True, "bf16")):
            here[f"{what}_{of}"] = ratio(times(figures[key], best_other(figures[key], bf16)))
    cells = [f"{what}_{of}" for of in ("fp32", "bf16") for what in SPEEDS]
    rows = [[by["processor"], by["date"], *(by.get(cell, "") for cell in cells)] for by in (here, *others)]
    head = ["processor, 2 cores", "date"]
    head += [f"{words}, {of}" for of in ("float32", "bf16") for words in ("training", "inference")]
    about = (
        "The speed of minidl divided by that of the fastest other, at batch 64, on all processors tried. "
        "Older rows were measured with older versions of the engine."
    )
    return f"{lines_of(about)}\n\n{table(head, rows)}"


# ------------------------------------------------------------------------ words


def processor(machine: dict[str, Any]) -> str:
    """Such as "AMD EPYC (AVX2)"."""
    name = machine["processor"].replace("(R)", "").replace(" Processor", "")
    return f"{name} ({machine['simd']})" if "simd" in machine else name


def label(name: str, machine: dict[str, Any]) -> str:
    """The contender, with the version of its package if `machine` has it."""
    words, package = LABELS[name]
    version = ".".join(machine.get(package, "").split(".")[:2])
    return words.replace(" {}", f" {version}" if version else "")


def ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def lines_of(text: str) -> str:
    """`text` in lines, with no break inside code."""
    text = re.sub(r"`[^`]+`", lambda code: code[0].replace(" ", "\0"), text)
    return textwrap.fill(text, 118, break_long_words=False, break_on_hyphens=False).replace("\0", " ")


def replaced(text: str, new: str) -> str:
    """`text` with `new` between the marks; DataError if they aren't there."""
    before, start, rest = text.partition(START)
    _, end, after = rest.partition(END)
    if not end:
        raise DataError(f"README.md has no {END if start else START}: put back both marks")
    return f"{before}{START}\n\n{new}\n\n{END}{after}"


def main() -> None:
    write(README, replaced(README.read_text("utf-8"), block(RESULTS)))


if __name__ == "__main__":
    run(main)
