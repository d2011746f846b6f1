"""How long a reader of an atlas waits: for the first page, and from unit to unit.

    python -m benchmarks.atlas_page FOLDER [--layer inception3.b3] [--steps 50] [--rounds 5]

FOLDER is an atlas. Chromium opens it from the disk, without a window and without a network, in a fresh context for
each round: nothing is cached but what the operating system keeps. First paint is the browser's own "first contentful
paint"; the page is complete when the pictures in view are drawn. A step is a press of the right arrow key on the page
of a unit; it ends with the frame in which the pictures of the next unit in view are drawn. This needs
`pip install -e '.[browser]'` and Debian's `chromium`, or `CHROMIUM=` a path.
"""

from __future__ import annotations

import argparse
import os
import shutil
from pathlib import Path
from urllib.parse import quote

import numpy as np

# Resolves with the time at which the page of `address` is there with all its pictures, and two frames have passed.
DRAWN = """address => new Promise(resolve => {
    const main = document.getElementById("main");
    const there = () => main.dataset.address === address && main.getAttribute("aria-busy") === "false";
    const sheets = () => [...document.querySelectorAll("#main .tile > i")].map(tile => {
        const box = tile.getBoundingClientRect();
        const seen = box.bottom > 0 && box.top < window.innerHeight;
        return seen ? tile.style.backgroundImage.slice(5, -2) : "";
    });
    const drawn = () => there() && [...new Set(sheets())].every(url => url === "" || atlas.sheet(url).complete);
    const look = () => requestAnimationFrame(drawn() ? () => resolve(performance.now()) : look);
    look();
})"""
PAINT = """() => new Promise(resolve => {
    const tell = list => list.getEntriesByName("first-contentful-paint").forEach(entry => resolve(entry.startTime));
    new PerformanceObserver(tell).observe({type: "paint", buffered: true});
})"""
# Leaves in `window.step` how long it takes from the press of a key until then.
STEP = f"""address => {{
    let pressed = 0;
    const press = event => {{ pressed = event.timeStamp; }};
    document.addEventListener("keydown", press, {{once: true, capture: true}});
    window.step = ({DRAWN})(address).then(time => time - pressed);
}}"""


def measure(browser, index: Path, layer: str, steps: int) -> tuple[float, float, list[float]]:
    """First paint, the whole first page, and each step, in ms."""
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    page.goto(index.as_uri())
    complete = page.evaluate(DRAWN, "#")
    paint = page.evaluate(PAINT)
    times = []
    name = quote(layer, safe="!~*'()")
    page.evaluate("address => { location.hash = address; }", f"{name}/0")
    page.evaluate(DRAWN, f"#{name}/0")
    for unit in range(1, steps + 1):
        page.evaluate(STEP, f"#{name}/{unit}")
        page.keyboard.press("ArrowRight")
        times.append(page.evaluate("window.step"))
    context.close()
    return paint, complete, times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="an atlas")
    parser.add_argument("--layer", default="inception3.b3", help="whose units are shown (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=50, help="from unit to unit (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="of everything (default: %(default)s)")
    flags = parser.parse_args()
    from playwright.sync_api import sync_playwright  # only .[browser] has it

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which(os.environ.get("CHROMIUM", "chromium")))
        index = (flags.folder / "index.html").resolve()
        rounds = [measure(browser, index, flags.layer, flags.steps) for _ in range(flags.rounds)]
        print(f"Chromium {browser.version}, load of the machine {os.getloadavg()[0]:.1f}")
        browser.close()
    paints, completes, steps = zip(*rounds, strict=True)
    say("first contentful paint", paints)
    say("first page with its pictures", completes)
    say("from unit to unit", np.concatenate(steps))


def say(what: str, times) -> None:
    low, high = np.percentile(times, [50, 95])
    print(f"{what:30}  median {low:6.0f} ms, 95th percentile {high:6.0f} ms, n {len(times)}")


if __name__ == "__main__":
    main()
