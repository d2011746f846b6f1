"""Hostile files by the thousand, made from good ones: `python -m tests.fuzz --help`."""
