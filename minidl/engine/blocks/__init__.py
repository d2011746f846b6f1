"""Runs of plain layers that are computed as one block."""
