"""The networks, by name: `models.build("refined", classes=200)`.

This folder is the package `minidl.models`. In a checkout `import models` works as well and gives the same modules:
there is one registry, and `models.inception is minidl.models.inception`.
"""

import sys

from minidl.models.registry import OPTIONS, REGISTRY, WEIGHTS, build, load_pretrained, pretrained, weights_file
from minidl.models.runs import Run

__all__ = ["OPTIONS", "REGISTRY", "WEIGHTS", "Run", "build", "load_pretrained", "pretrained", "weights_file"]

if __name__ == "models":
    for name in [name for name in sys.modules if name.startswith("minidl.models")]:
        sys.modules[name.removeprefix("minidl.")] = sys.modules[name]
