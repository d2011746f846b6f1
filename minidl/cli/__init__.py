"""The command line: every command and its flags. Nothing else in minidl imports argparse.

Internal: its names may change.
"""
