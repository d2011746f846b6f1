"""The listener of the browser tests notices each thing that a page may not do."""

import time

import pytest

from tests.atlas.looking import LONGEST

pytestmark = pytest.mark.browser

POLICY = "<meta http-equiv='Content-Security-Policy' content=\"script-src 'self'; img-src 'self'\">"


@pytest.mark.parametrize(
    "body, complaint",
    [
        ("<script>console.error('lost')</script>", "lost"),
        ("<script>nothing.at.all</script>", "uncaught: nothing is not defined"),
        ("<script>alert('x')</script>", "a dialog: x"),
        ("<script src=missing.js></script>", "Failed to load resource"),
        ("<img src=https://example.org/x.png>", "leaves the folder: https://example.org/x.png"),
        ("<img src=../x.png>", "leaves the folder: file:"),
        (POLICY + "<script>1</script>", "against the policy: script-src-elem inline"),
        (POLICY + "<img src=data:image/png;base64,xx>", "against the policy: img-src data"),
    ],
)
def test_it_notices(tmp_path, windows, body, complaint):
    (tmp_path / "index.html").write_text("<!doctype html><title>x</title>" + body)
    page, end = windows.open(tmp_path / "index.html"), time.monotonic() + LONGEST
    while not any(complaint in text for text in windows.complaints) and time.monotonic() < end:
        page.wait_for_timeout(20)
    assert any(complaint in text for text in windows.complaints), windows.complaints
    windows.complaints.clear()


def test_it_lets_a_quiet_page_pass(tmp_path, windows):
    (tmp_path / "index.html").write_text("<!doctype html><title>x</title>" + POLICY + "<script src=x.js></script>")
    (tmp_path / "x.js").write_text("document.title = 'quiet'")
    assert windows.open(tmp_path / "index.html", "some/address").title() == "quiet"
