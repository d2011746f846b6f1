"""Weights and graphs of other frameworks, read and written without them.

Internal: its names may change. What is public of it is in `minidl` itself.
"""
