"""What a model is, what it costs, and whether its derivatives are right.

Internal: its names may change. The public ones are in `minidl` itself.
"""
