"""`python -m minidl`: the same as the command `minidl`."""

import sys

from minidl.cli.programs import MINIDL

if __name__ == "__main__":
    sys.argv[0] = "minidl"  # as a run's env.json shows it
    sys.exit(MINIDL.main())
