"""The tests of minidl: run `pytest`, and `python -m tests.mutation` to see that they can fail."""
