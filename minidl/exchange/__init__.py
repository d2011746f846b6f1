"""Weights and graphs of other frameworks, read and written without them: torch's files, ONNX, model cards.

Internal: its names may change. What is public of it is in `minidl` itself.
"""
