"""The edge of the program: every failure inside a command ends in one line and an exit code."""

from __future__ import annotations

import errno
import logging
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from minidl.errors import DataError, MinidlError, OutOfMemoryError
from minidl.text.console import give_up, warn

INTERNAL = 1  # an error of minidl itself
INTERRUPTED = 130  # 128 + SIGINT
BROKEN_PIPE = 141  # 128 + SIGPIPE: the reader of the output has gone, as in `train.py eval RUN | head -1`
_UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF)
TRACEBACK = "MINIDL_TRACEBACK"  # environment variable: also print where an error came from


class Terminated(KeyboardInterrupt):
    """SIGTERM, or a terminal that was closed. What is open is tidied up as after Ctrl-C."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.exit_code = 128 + number


@contextmanager
def tidy_end() -> Iterator[None]:
    """Inside, SIGTERM and a closed terminal raise Terminated, so that no temporary file is left behind."""

    def end(number: int, frame: FrameType | None) -> None:
        raise Terminated(number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    main = threading.current_thread() is threading.main_thread()
    mine = [number for number in numbers if main and signal.getsignal(number) is signal.SIG_DFL]
    for number in mine:  # nohup ignores SIGHUP, and a program around minidl may have plans of its own
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, signal.SIG_DFL)


def run_guarded(script: str, command: Callable[[], int]) -> int:
    """Runs `command` and returns its exit code. Every failure is one line on stderr that begins with `script`.

    The output is flushed here, not when the interpreter ends, so a full disk or a closed pipe counts as a failure.
    """
    _open_streams()
    try:
        with _warnings_as_lines():
            code = command()
        sys.stdout.flush()
        return code
    except BaseException as error:
        lost = _flush()
        if isinstance(error, SystemExit):  # argparse: a help text, or a line that is already printed
            if lost is None:
                return error.code if isinstance(error.code, int) else INTERNAL
            error = lost
        line, code = answer(error)
        trace()
        if line is not None:
            warn(f"{script}: {line}")
        return code


def trace() -> None:
    """Prints where the error that is handled came from, if the user has asked for that."""
    if os.environ.get(TRACEBACK):
        for part in traceback.format_exc().splitlines():
            warn(part)


@contextmanager
def _warnings_as_lines() -> Iterator[None]:
    """Prints each warning and log message of a library in one line.

    NumPy's warnings of overflow are dropped, because minidl reports such numbers itself.
    """
    before, logging.lastResort = logging.lastResort, _Lines(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            warnings.showwarning = lambda message, *_: warn(f"warning  {message}")
            yield
    finally:
        logging.lastResort = before


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        warn(f"warning  {record.getMessage()}")


def answer(error: BaseException) -> tuple[str | None, int]:
    """The line about `error`, or None, and the exit code."""
    match error:
        case MinidlError():
            return str(error), error.exit_code
        case MemoryError():  # if the batch size is not the reason; `cli/common.py` has a better answer for that
            return f"out of memory{f' ({error})' if str(error) else ''}", OutOfMemoryError.exit_code
        case Terminated():
            return None, error.exit_code
        case KeyboardInterrupt():
            return None, INTERRUPTED
        case BrokenPipeError():
            return None, BROKEN_PIPE
        case OSError() if error.filename is None and error.errno in _UNWRITABLE:  # files are written by `atomic`
            return f"the output can't be written: {error.strerror}", DataError.exit_code
        case OSError():
            where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
            return f"{where}{error.strerror or error}", DataError.exit_code
        case UnicodeError():
            return f"a text that can't be read or written: {error}", DataError.exit_code
        case RuntimeError() if "home directory" in str(error):  # pathlib's
            return (
                "there is no home folder: set MINIDL_CACHE to a folder, and give paths without ~",
                DataError.exit_code,
            )
        case RuntimeError() if "new thread" in str(error):
            # any command may say this, and some have neither flag
            advice = "end other programs, or give fewer --threads or --workers where the command has them"
            return f"no more threads can be started: {advice}", OutOfMemoryError.exit_code
        case _:
            what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            return f"internal error ({what}): please report it, with what {TRACEBACK}=1 adds", INTERNAL


def _open_streams() -> None:
    """Replaces a closed stdout or stderr by one that keeps nothing.

    A character that the encoding of stdout lacks is written as an escape.
    """
    if sys.stdout is None or sys.stderr is None:
        while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
            pass  # 0, 1 and 2 are taken now: no file that is opened later gets what is printed
        os.close(descriptor)
        sys.stdout = sys.stdout or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
        sys.stderr = sys.stderr or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    if hasattr(sys.stdout, "reconfigure"):  # not so in a notebook
        sys.stdout.reconfigure(errors="backslashreplace")


def _flush() -> OSError | None:
    """Flushes stdout. If that fails, its content is dropped, so that the end of the interpreter doesn't fail too."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError) as error:
        give_up(sys.stdout)
        return error if isinstance(error, OSError) else OSError(str(error))
    return None
