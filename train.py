"""Train, evaluate and use the networks: `python train.py`, `python train.py --help`. The same as `minidl`."""

import sys

from minidl.cli.programs import TRAIN_PY

main = TRAIN_PY.main

if __name__ == "__main__":
    sys.exit(main())
