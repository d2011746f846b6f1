"""The NumPy calls of an inference pass, recorded once and called again."""
