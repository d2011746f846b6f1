"""The command `minidl`, and `python -m minidl`, which is the same."""

import sys


def main() -> int:
    try:
        from minidl.cli.programs import MINIDL
    except KeyboardInterrupt:  # it takes a second or two
        return 130
    return MINIDL.main()


if __name__ == "__main__":
    sys.argv[0] = "minidl"  # as a run's env.json shows it
    sys.exit(main())
