"""Arrays and devices: the only place that knows NumPy from CuPy.

Internal: its names may change.
"""
