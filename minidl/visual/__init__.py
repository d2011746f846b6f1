"""Pictures of networks and their training.

Internal: its names may change. What is public of it is in `minidl` itself.
"""
