"""What a model is, what it costs, and whether its derivatives are right.

Internal: its names may change. What is public of it is in `minidl` itself.
"""
