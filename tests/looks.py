"""A run that is looked at while it trains must end in the same bits as one that is not.

    python -m tests.looks [--epochs 60] [--looks 100]

One process trains, another runs `eval`, `layers`, `history` and `deconv` on the run in turn, all the time. The run is
made again with twice the epochs until it was looked at often enough.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

import numpy as np

from minidl.data.export import export_tiny_imagenet_layout
from minidl.data.shapes import load_shapes
from tests.kills import finish, look, result, start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--looks", type=int, default=100)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        data = export_tiny_imagenet_layout(load_shapes(1000, 200), root / "data", progress=False)
        epochs, seen = args.epochs, 0
        while seen < args.looks:
            flags = ["--epochs", str(epochs), "--snapshot-epochs", "5", "--keep", "3"]
            process = start(data, root / "seen" / "run", flags)
            looker = look(root / "seen" / "run")
            finish(process)
            looker.kill()
            seen = len(looker.communicate()[0].splitlines())
            print(f"{epochs} epochs, looked at {seen} times meanwhile", flush=True)
            if seen < args.looks:
                shutil.rmtree(root / "seen")
                epochs *= 2
        finish(start(data, root / "unseen" / "run", flags))
        (arrays, rows), (others, other_rows) = (result(root / name / "run") for name in ("seen", "unseen"))
        same = arrays.keys() == others.keys() and all(np.array_equal(others[n], a) for n, a in arrays.items())
        if not same or rows != other_rows:
            sys.exit("the run that was looked at differs from the one that was not")
        print("the same bits as without")


if __name__ == "__main__":
    main()
