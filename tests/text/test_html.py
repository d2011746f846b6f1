"""Tables for notebooks: every name is text, never markup."""

from html.parser import HTMLParser

from minidl.errors import printable
from minidl.text.html import html_table

EVIL = '<script>alert(1)</script>" onload="x" \x1b[31m & \u202e'


class Seen(HTMLParser):
    """The tags and the texts of a page."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.texts = [], set(), []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data):
        self.texts.append(data)


def test_nothing_in_a_cell_or_caption_is_markup():
    seen = Seen(html_table([("name", EVIL), (EVIL, 1)], left=1, caption=EVIL))
    assert set(seen.tags) == {"table", "caption", "thead", "tbody", "tr", "th", "td"}
    assert seen.attributes == {"style"}
    assert [t for t in seen.texts if "script" in t] == [printable(EVIL)] * 3


def test_numbers_stand_to_the_right():
    page = html_table([("a", "b"), ("x", 2)], left=1)
    assert page.count("text-align:left") == 2 and page.count("text-align:right") == 2
