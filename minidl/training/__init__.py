"""Training: the loop, its callbacks, checkpoints and run folders.

Internal: its names may change. What is public of it is in `minidl` itself.
"""
