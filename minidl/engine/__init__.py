"""The fast CPU engine: composites that do the work of runs of plain layers, on tiles of a batch."""

from minidl.engine.fuse import fuse, unfuse

__all__ = ["fuse", "unfuse"]
