"""The figures of whole nets in words: a Markdown table, and what a reader needs to repeat and judge the run."""

from __future__ import annotations

from typing import Any

from benchmarks.cli import conditions
from benchmarks.compare import SPEEDS, best_other, times
from benchmarks.settings import SIDES

NETWORKS = {
    "refined": "The refined net",
    "vgg": "A VGG-like net (3x3 convolutions of 64, 64, 128, 128, 256, 256 filters, each with BN and ReLU)",
    "resnet18": "ResNet-18 with a small stem (one 3x3 convolution, no pool)",
}
WORDS = {"train": "training", "infer": "inference"}


def table(figures: dict[str, Any]) -> str:
    """Speeds, how many times as fast minidl is, memory, threads as each framework says, and cores kept busy."""
    rss, busy = figures["peak_rss_mb"], figures["cores_busy"]
    lines = [
        "| | train img/s | minidl: times as fast | inference img/s | minidl: times as fast | peak RSS in training "
        "| threads | cores busy in training, inference |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in figures["infer_img_s"]:
        cells = [name]
        for key in SPEEDS.values():
            speeds = figures[key]
            cells.append(f"{speeds[name]:.1f}" if name in speeds else "")
            cells.append("" if (ratio := times(speeds, name)) is None else f"{ratio:.2f}")
        cells.append(f"{rss[name]:,} MB" if name in rss else "")
        cells.append(str(figures["threads"][name]))
        cells.append(", ".join(f"{by[name]:.1f}" if name in by else "-" for by in busy.values()))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def standing(figures: dict[str, Any]) -> str:
    """How minidl stands against the best of the others in float32 and in bfloat16, in words."""
    sentences = []
    for what, key in SPEEDS.items():
        speeds, parts = figures[key], []
        for bf16, kind in ((False, "the best other in float32"), (True, "in bfloat16")):
            name = best_other(speeds, bf16)
            if (ratio := times(speeds, name)) is not None:
                parts.append(f"{ratio:.2f} times as fast as {name} ({kind})")
        if parts:
            sentences.append(f"In {WORDS[what]} minidl is {' and '.join(parts)}.")
    return " ".join(sentences)


def report(figures: dict[str, Any]) -> str:
    settings = figures["settings"]
    network, side = settings["network"], SIDES[settings["network"]]
    return "\n".join(
        [
            f"{NETWORKS[network]}, {side}x{side} images, float32 unless named bf16; batch {settings['batch_size']}, "
            f"{settings['threads']} threads each, medians of {settings['rounds']} alternating rounds of "
            f"{settings['steps']} steps, of fewer for a contender that takes over half a minute.",
            "",
            table(figures),
            "",
            standing(figures),
            "",
            conditions(figures),
        ]
    )
