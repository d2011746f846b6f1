"""Arrays and devices. This is the only room that tells NumPy from CuPy.

Internal: its names may change.
"""
