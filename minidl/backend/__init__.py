"""Arrays and devices: the only place that knows NumPy from CuPy."""
