"""The fast CPU engine: composites that do the work of several plain layers, on tiles of a batch."""

from minidl.engine.fuse import fuse, unfuse
from minidl.engine.prepare import prepare

__all__ = ["fuse", "prepare", "unfuse"]
