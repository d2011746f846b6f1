"""Train, evaluate and use the networks: `python train.py`, `python train.py --help`. The same as `minidl`."""

import sys

try:
    from minidl.cli.programs import TRAIN_PY
except KeyboardInterrupt:  # it takes a second or two
    sys.exit(130)

main = TRAIN_PY.main

if __name__ == "__main__":
    sys.exit(main())
