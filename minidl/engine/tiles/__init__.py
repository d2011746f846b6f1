"""Threads that work on tiles of a batch, their memory, and products of small matrices."""
