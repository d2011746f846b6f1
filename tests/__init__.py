"""The tests of minidl: run `pytest`, and `python -m tests.mutation` for the proof that they can fail."""
