"""Look inside a trained network: `python visualize.py COMMAND RUN`. The same commands as those of `minidl`."""

import sys

try:
    from minidl.cli.programs import VISUALIZE_PY
except KeyboardInterrupt:  # it takes a second or two
    sys.exit(130)

main = VISUALIZE_PY.main

if __name__ == "__main__":
    sys.exit(main())
