"""The version of this copy of minidl; setup.py reads it from here."""

__version__ = "0.1.0"
