"""What the commands of train.py do; each takes the parsed flags and returns the exit code."""
