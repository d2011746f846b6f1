"""The figures of whole nets in words: a Markdown table, and what a reader needs to repeat and judge the run."""

from __future__ import annotations

from typing import Any

from benchmarks.cli import conditions
from benchmarks.settings import SIDES

BASIS = "torch_nchw"  # ratios are against this one
NETWORKS = {
    "refined": "The refined net",
    "vgg": "A VGG-like net (3x3 convolutions of 64, 64, 128, 128, 256, 256 filters, each with BN and ReLU)",
}


def table(figures: dict[str, Any]) -> str:
    """Speeds, their ratios to torch's default layout, memory, threads as each framework says, and cores kept busy."""
    train, infer, rss = (figures[key] for key in ("train_img_s", "infer_img_s", "peak_rss_mb"))
    lines = [
        f"| | train img/s | ratio to {BASIS} | inference img/s | ratio to {BASIS} | peak RSS in training | threads "
        "| cores busy in training, inference |",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for name in infer:
        cells = [name]
        for speed in (train, infer):
            cells.append(f"{speed[name]:.1f}" if name in speed else "")
            cells.append(f"{speed[name] / speed[BASIS]:.2f}" if name in speed and BASIS in speed else "")
        busy = [figures["cores_busy"][what].get(name) for what in ("train", "infer")]
        cells.append(f"{rss[name]:,} MB" if name in rss else "")
        cells.append(str(figures["threads"][name]))
        cells.append(", ".join("-" if b is None else f"{b:.1f}" for b in busy))
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def report(figures: dict[str, Any]) -> str:
    settings = figures["settings"]
    network, side = settings["network"], SIDES[settings["network"]]
    return "\n".join(
        [
            f"{NETWORKS[network]}, {side}x{side} images, float32; "
            f"batch {settings['batch_size']}, {settings['threads']} threads each, medians of {settings['rounds']} "
            f"alternating rounds of {settings['steps']} steps.",
            "",
            table(figures),
            "",
            conditions(figures),
        ]
    )
