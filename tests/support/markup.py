"""What the markup of a page does in a browser, as far as data could make it do something else."""

from __future__ import annotations

from html.parser import HTMLParser

_ADDRESSES = {"href", "src", "action", "formaction", "hx-get", "hx-post", "sse-connect", "data-src"}


class Markup(HTMLParser):
    """Reads a page, and notes what no page may have.

    Attributes:
        links: own paths that the page leads to.
        faults: inline code and style, unknown scripts, and addresses of other sites.
    """

    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.faults: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        named = {name: value or "" for name, value in attributes}
        if tag == "script" and not named.get("src", "").startswith("/static/"):
            self.faults.append("inline script")
        if tag in ("style", "base", "iframe", "object", "embed"):
            self.faults.append(tag)
        if tag == "meta" and named.get("http-equiv"):
            self.faults.append("meta http-equiv")
        for name, value in named.items():
            if name.startswith("on") or name in ("style", "srcdoc", "hx-on", "hx-vals"):
                self.faults.append(f"{tag} {name}")
            elif name in _ADDRESSES and not value.startswith("#"):
                self._address(tag, name, value)

    def _address(self, tag: str, name: str, value: str) -> None:
        if value.startswith("?") and tag == "a":
            return
        if not value.startswith("/") or value.startswith(("//", "/\\")):
            self.faults.append(f"{tag} {name}={value}")
        elif (tag, name) == ("a", "href"):
            self.links.add(value.partition("#")[0])
