"""Convolutions on one tile: patches, Winograd, and the choice between them."""
