"""Files: weights, locks, and checks of everything that is read back.

Internal: its names may change. What is public of it is in `minidl` itself.
"""
