"""Kernels of windows of every kind: another size, stride, dilation and padding on each axis, and groups of channels.

They stand beside the kernels of square windows (`minidl/kernels`), in the same three sets with equal signatures
(`sets.py` chooses one). Where a window lies is one value, a `Window`. Internal: its names may change.
"""
