"""Weights and graphs of other frameworks."""
