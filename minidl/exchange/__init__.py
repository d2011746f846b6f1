"""Weights and networks from others, and for others: torch's files, ONNX graphs, model cards.

Begin with `onnx_graph`, then `onnx_layers`.
"""
