"""The NumPy calls of an inference pass, recorded once, shared out to two threads, and called again."""
