"""Debian's chromium, and axe-core, which checks whether everybody can use a page."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from tests.support.programs import program

_SECONDS = 60.0  # to wait for an element
_AXE = """async rules => {
    const found = await axe.run(document, {resultTypes: ["violations"], ...rules});
    return found.violations;
}"""
_GRAVE = {"serious", "critical"}


@contextmanager
def running_browser() -> Iterator[Browser]:
    """Run chromium without a window."""
    path = program("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path)
        try:
            yield browser
        finally:
            browser.close()


class Visitor:
    """A person with a browser of their own.

    Args:
        url: of the console.

    Attributes:
        page: what the person sees.
        troubles: errors of scripts, what the policy of contents refused, and requests elsewhere.
    """

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self._url = url
        self._context = browser.new_context(base_url=url, accept_downloads=True, **options)
        self._context.set_default_timeout(1_000 * _SECONDS)
        self.page: Page = self._context.new_page()
        self.troubles: list[str] = []
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.on("console", self._read_log)
        self.page.on("request", self._read_request)

    def sign_on(self, name: str, token: str) -> None:
        """Sign on with a token."""
        self.page.goto("/sign-in")
        self.page.get_by_label("Name").fill(name)
        self.page.get_by_label("Token").fill(token)
        self.page.get_by_role("button", name="Sign in").click()
        self.page.wait_for_url("**/")

    def faults(self, path: str) -> list[str]:
        """What keeps some people from using a page, in light and in dark colours."""
        self.page.emulate_media(color_scheme="light")
        self.page.goto(path)
        self.page.evaluate(_axe())
        found = self.page.evaluate(_AXE, {})
        self.page.emulate_media(color_scheme="dark")
        found += self.page.evaluate(_AXE, {"runOnly": ["color-contrast"]})
        return [
            f"{path}: {each['id']}: {node['html'][:200]}"
            for each in found
            if each["impact"] in _GRAVE
            for node in each["nodes"]
        ]

    def close(self) -> None:
        self._context.close()

    def _read_log(self, message: ConsoleMessage) -> None:
        if message.type == "error" and "status of" not in message.text:  # an answer above 399
            self.troubles.append(message.text)

    def _read_request(self, request: Request) -> None:
        if not request.is_navigation_request() and not request.url.startswith(self._url):
            self.troubles.append(request.url)


@cache
def _axe() -> str:
    """The script of axe-core, which `.ci/axe/fetch` gets."""
    file = os.environ.get("XM_TEST_AXE")
    if not file and os.environ.get("XM_TEST_REQUIRE"):
        pytest.fail("XM_TEST_AXE does not name axe.min.js")
    if not file:
        pytest.skip("XM_TEST_AXE does not name axe.min.js")
    return Path(file).read_text()
