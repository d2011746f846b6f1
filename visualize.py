"""Look inside a trained network: `python visualize.py COMMAND RUN`. The same commands as those of `minidl`."""

import sys

from minidl.cli.programs import VISUALIZE_PY

main = VISUALIZE_PY.main

if __name__ == "__main__":
    sys.exit(main())
