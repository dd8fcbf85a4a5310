"""Take pictures of a running console, for the documentation.

    xm console user ana --role analyst >>users 2>token
    python -m dashboards.console --url http://127.0.0.1:6069 --name ana --token-file token

Each page is found as a person finds it, from the links of the page before. It needs Playwright,
Pillow and Debian's chromium.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

PICTURES = Path(__file__).parents[1] / "deploy/docs/pictures"
_CHROMIUM = "/usr/bin/chromium"
_COLORS = 160  # of a picture, so that it stays small
_HIGHEST, _PHONE = 1.1, 3.5  # height of a picture, in widths; of one of a phone
_DRAWN_MS = 600.0  # until charts are drawn

Scheme = Literal["light", "dark"]


class Shot(NamedTuple):
    """One picture.

    Attributes:
        name: of its file, after `console-`.
        links: what to follow from the first page, by the beginning of a path.
        width: pixels.
        previews: select all rows, and show what the page then previews.
    """

    name: str
    links: tuple[str, ...]
    width: int
    scheme: Scheme = "light"
    previews: bool = False


SHOTS = (
    Shot("now", (), 1280),
    Shot("now-phone", (), 390, "dark"),
    Shot("campaign", ("/campaigns/",), 1280),
    Shot("campaign-wide", ("/campaigns/",), 1920, "dark"),
    Shot("preview", ("/campaigns/",), 1280, previews=True),
    Shot("key", ("/keys/",), 1280),
    Shot("key-phone", ("/keys/",), 390),
)


def sign_on(page: Page, url: str, name: str, token: str) -> None:
    """Sign on with a token."""
    page.goto(f"{url}/sign-in")
    page.fill("input[name=name]", name)
    page.fill("input[name=token]", token)
    page.click("main button")
    page.wait_for_selector("header.top")


def follow(page: Page, url: str, links: tuple[str, ...]) -> None:
    """Go to a page by links."""
    page.goto(f"{url}/")
    for link in links:
        page.goto(url + str(page.locator(f'a[href^="{link}"]').first.get_attribute("href")))


def preview(page: Page) -> None:
    """Go to the preview of a decision on all rows that are shown. Nothing is decided."""
    page.check("[data-all]")
    page.click("button[data-needs-selection]")
    page.wait_for_selector("#confirm")


def take(page: Page, width: int) -> bytes:
    """A PNG file of what is shown."""
    highest = int(width * (_PHONE if width < 640 else _HIGHEST))
    height = min(int(page.evaluate("document.documentElement.scrollHeight")), highest)
    page.set_viewport_size({"width": width, "height": height})
    page.wait_for_timeout(_DRAWN_MS)
    taken = Image.open(io.BytesIO(page.screenshot()))
    file = io.BytesIO()
    taken.convert("RGB").quantize(_COLORS, dither=Image.Dither.NONE).save(
        file, "PNG", optimize=True
    )
    return file.getvalue()


def pictures(browser: Browser, url: str, name: str, token: str) -> Iterator[tuple[str, bytes]]:
    """The name and the content of each picture."""
    known = None
    for shot in SHOTS:
        context = browser.new_context(
            viewport={"width": shot.width, "height": 900},
            color_scheme=shot.scheme,
            storage_state=known,
            locale="en-GB",
            timezone_id="UTC",
        )
        page = context.new_page()
        if known is None:
            sign_on(page, url, name, token)
            known = context.storage_state()
        follow(page, url, shot.links)
        if shot.previews:
            preview(page)
        yield f"console-{shot.name}.png", take(page, shot.width)
        context.close()


def main() -> None:
    """Take all pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--url", default="http://127.0.0.1:6069")
    parser.add_argument("--name", required=True, help="who signs on")
    parser.add_argument("--token-file", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=PICTURES)
    chosen = parser.parse_args()
    token = chosen.token_file.read_text().split()[-1]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=_CHROMIUM, args=["--no-sandbox"])
        for name, content in pictures(browser, chosen.url.rstrip("/"), chosen.name, token):
            (chosen.out / name).write_bytes(content)
            print(f"{name}: {len(content) // 1000} kB")
        browser.close()


if __name__ == "__main__":
    main()
