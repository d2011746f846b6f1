"""A browser without a network, for the tests of all pages. Whatever a page may not do fails the test."""

import re
import shutil

import pytest

from tests.atlas.looking import LONGEST

VIOLATION = """document.addEventListener("securitypolicyviolation", event => {
    console.error(`against the policy: ${event.effectiveDirective} ${event.blockedURI}`);
});"""


class Windows:
    """Opens files in windows of their own and writes down what goes wrong there."""

    def __init__(self, browser):
        self.browser = browser
        self.complaints = []

    def open(self, index, address="", width=1280, height=900, theme="light", allowed=None):
        """The page of `index.html#address`. allowed: a pattern of complaints that don't count."""

        def complain(text):
            if not (allowed and re.search(allowed, text)):
                self.complaints.append(text)

        def said(message):
            if message.type in ("error", "warning"):
                complain(f"{message.text} {message.location['url']}")

        def inside(request):
            if not request.url.startswith(index.parent.as_uri() + "/"):
                complain(f"a request that leaves the folder: {request.url}")

        context = self.browser.new_context(
            offline=True, viewport={"width": width, "height": height}, color_scheme=theme
        )
        context.set_default_timeout(1000 * LONGEST)
        page = context.new_page()
        page.add_init_script(VIOLATION)
        page.on("console", said)
        page.on("pageerror", lambda error: complain(f"uncaught: {error}"))
        page.on("dialog", lambda dialog: (complain(f"a dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", inside)
        page.goto(index.as_uri() + ("#" + address if address else ""))
        return page

    def close(self):
        for context in self.browser.contexts:
            context.close()


@pytest.fixture(scope="session")
def chromium():
    from playwright.sync_api import sync_playwright  # only .[browser] has it

    from tests.conftest import PROGRAMS

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which(PROGRAMS["browser"]))
        yield browser
        browser.close()


@pytest.fixture
def windows(chromium):
    """Opens files; after the test there must be no complaint."""
    windows = Windows(chromium)
    yield windows
    windows.close()
    assert windows.complaints == []
