"""What a reader of the page sees: addresses, numbers, colors of pictures."""

import io
import time
from urllib.parse import quote

import numpy as np
from PIL import Image

LONGEST = 120  # seconds for a page to come, on however busy a machine


def encoded(name):
    """A name as it stands in an address: JavaScript's encodeURIComponent."""
    return quote(name.encode("utf-8", "replace"), safe="!~*'()")


def unit_address(atlas, layer, unit):
    return f"{encoded(atlas.layers[layer])}/{unit}"


def settled(page, address, view=None):
    """Waits until the page of an address stands there, whole or of this view."""
    main = page.locator(f'#main[data-address="#{address}"][aria-busy="false"]')
    main.wait_for(timeout=1000 * LONGEST)
    found = main.get_attribute("data-view")
    assert found == view if view else found not in ("lost", "broken"), main.inner_text()
    return page


def show(page, address, view=None):
    """Goes to an address, as a link does."""
    page.evaluate("address => { location.hash = address; }", address)
    return settled(page, address, view)


def number(text):
    """The number in a text of the page; the page shows three digits."""
    return float(text.replace("\u2212", "-").replace(",", "").replace("%", "").replace("+", ""))


def fits(page):
    """Nothing is wider than the window."""
    return page.evaluate("document.scrollingElement.scrollWidth <= window.innerWidth")


def too_wide(page):
    """The elements whose content sticks out of them to the side; an arrow's head is wider than its shaft."""
    return page.evaluate(
        """() => [...document.querySelectorAll("#main *:not(.arrow)")].filter(element => {
            const { display, overflowX } = getComputedStyle(element);
            const laidOut = display !== "inline" && overflowX === "visible" && element.clientWidth > 0;
            return laidOut && !(element instanceof SVGElement) && element.scrollWidth > element.clientWidth + 1;
        }).map(element => `${element.tagName}.${element.className}`)"""
    )


def colors_of(page, selector):
    """The colors in the middle of all elements that a selector finds: (n, 3)."""
    boxes = page.locator(selector).evaluate_all(
        """elements => elements.map(element => {
            const box = element.getBoundingClientRect();
            return [box.left + box.width / 2 + window.scrollX, box.top + box.height / 2 + window.scrollY];
        })"""
    )
    picture = Image.open(io.BytesIO(page.screenshot(full_page=True, animations="disabled")))
    pixels = np.asarray(picture.convert("RGB")).astype(int)
    return np.array([pixels[int(y), int(x)] for x, y in boxes]).reshape(-1, 3)


def sees(page, selector, expected):
    """Whether these pictures come to stand there; their sheets may still be on their way."""
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        found = colors_of(page, selector)
        if found.shape == np.shape(expected) and np.abs(found - np.asarray(expected).astype(int)).max() <= 12:
            return True
        page.wait_for_timeout(100)
    print(f"{selector}: {found.tolist()} in place of {np.asarray(expected).tolist()}")
    return False
