"""Files that belong together, what is never replaced by one, and signals between two renames."""

import errno
import os
import signal

import pytest

from minidl.errors import DataError
from minidl.storage.files import atomic, check_target, signals_held, together
from minidl.training.folders import create_folder

PIPES = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes here")


@PIPES
@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_is_never_replaced_by_a_file(tmp_path, linked):
    pipe = target = tmp_path / "pipe"
    os.mkfifo(pipe)
    if linked:
        (target := tmp_path / "link").symlink_to("pipe")
    with pytest.raises(DataError, match="a device, a pipe or a socket"), atomic(target):
        pytest.fail("nothing can be written")
    with pytest.raises(DataError, match="pipe"), atomic(tmp_path / "new") as temporary:
        os.mkfifo(temporary.parent.parent / "late")
        with together(tmp_path / "late", tmp_path / "other"):
            pytest.fail("nothing can be written")
    assert pipe.is_fifo() and sorted(os.listdir(tmp_path)) == sorted({"pipe", "late", target.name})


def test_a_folder_and_a_place_that_is_not_there_are_named(tmp_path):
    for path, line in ((tmp_path, "folder"), (tmp_path / "..", "folder"), (tmp_path / "a" / "b", "No such file")):
        with pytest.raises(DataError, match=line):
            check_target(path)
    check_target(tmp_path / "new")


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (file := tmp_path / "runs").write_text("")
    with pytest.raises(DataError, match=f"can't write .*new: {file} is not a folder"):
        create_folder(file / "sub", "new", "net", lambda folder: None)
    with pytest.raises(DataError, match=f"can't write .*new: {file} is not a folder"):
        create_folder(file, "new", "net", lambda folder: None)


@pytest.mark.parametrize("reason", [errno.EROFS, errno.EACCES])
def test_a_folder_that_cannot_be_written_says_why(tmp_path, monkeypatch, reason):
    def refuse(**where):
        raise OSError(reason, os.strerror(reason))

    monkeypatch.setattr("os.access", lambda *_: False)
    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(DataError, match=f"can't write .*new: {os.strerror(reason)}"):
        check_target(tmp_path / "new")


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_between_two_renames_waits_for_the_second(tmp_path, monkeypatch, name):
    for file in ("file", "card"):
        (tmp_path / file).write_text("old")
    replace, number = os.replace, getattr(signal, name)

    def stopped(number, frame):
        raise KeyboardInterrupt

    def rename(source, target):
        replace(source, target)
        signal.raise_signal(number)

    before = signal.signal(number, stopped)
    monkeypatch.setattr("os.replace", rename)
    try:
        with pytest.raises(KeyboardInterrupt), together(tmp_path / "file", tmp_path / "card") as both:
            for path in both:
                path.write_text("new")
        assert signal.getsignal(number) is stopped
    finally:
        signal.signal(number, before)
    assert [(tmp_path / file).read_text() for file in ("file", "card")] == ["new", "new"]
    assert sorted(os.listdir(tmp_path)) == ["card", "file"]


@pytest.mark.usefixtures("hears_ctrl_c")
def test_signals_that_do_not_come_change_nothing():
    before = signal.getsignal(signal.SIGINT)
    with signals_held():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before
