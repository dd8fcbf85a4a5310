"""Render a document as HTML, PDF or Markdown.

Names, notes, letters and what comes from a partner are text: they are escaped wherever a template
shows them, and control characters are spelled out. The HTML has no script, and its policy forbids
one. The renderer of PDF reads nothing: neither the network nor files.
"""

from __future__ import annotations

import base64
import hashlib
import logging
import os
import re
import unicodedata
import warnings
from functools import cache
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from monitor.errors import ConfigError
from pipelines.reports.blocks import Document
from pipelines.reports.words import visible

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_SPECIAL = re.compile(
    r"[\\`*\[\]<>&#|~]|(?<![^\W_])_|_(?![^\W_])|://|@|(?i:www\.)|^[-+=](?=\s|$)|^\d+(?=[.)](?:\s|$))",
    re.M,
)
_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "@": "&#64;", "://": "&#58;//"}


def html(document: Document) -> str:
    """A page that needs nothing besides itself."""
    style = _style()
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    template = _pages().get_template("document.html.j2")
    return template.render(document=document, style=Markup(style), style_digest=digest)


def markdown(document: Document) -> str:
    """The same as Markdown, without pictures."""
    text = _texts().get_template("document.md.j2").render(document=document)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def pdf(page: str) -> bytes:
    """A page as PDF on A4. The same page gives the same bytes.

    Raises:
        ConfigError: if a library is missing, or there is no font.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", ".*Expect ugly output")  # Pango crashes without a font
            from weasyprint import HTML
            from weasyprint.urls import URLFetcher
    except (OSError, UserWarning) as error:
        raise ConfigError(
            f"PDF needs Pango, HarfBuzz and a font ({error}). Install libpango-1.0-0, "
            "libpangoft2-1.0-0, libharfbuzz-subset0 and fonts-dejavu-core, or what your system "
            "calls them."
        ) from error
    os.environ.setdefault("SOURCE_DATE_EPOCH", "0")  # fontTools writes this date into fonts
    logging.getLogger("weasyprint").setLevel(logging.ERROR)  # it warns of CSS for screens
    reader = HTML(string=page, url_fetcher=URLFetcher(allowed_protocols=("data",)))
    identifier = hashlib.sha256(page.encode()).digest()[:16]
    return bytes(reader.write_pdf(pdf_identifier=identifier, pdf_tags=True) or b"")


def svg(template: str, data: Mapping[str, Any]) -> str:
    """A picture."""
    return _pages().get_template(template).render(data)


def escape_markdown(text: str) -> str:
    """Text that Markdown shows as it is: no markup, no HTML, no link.

    >>> escape_markdown("<b> *x* k_1")
    '&lt;b&gt; \\\\*x\\\\* k_1'
    """

    def escaped(found: re.Match[str]) -> str:
        part = found[0]
        if part.lower() == "www.":
            return f"{part[:3]}&#46;"
        if part.isdigit():
            return f"{part}\\"
        return _ENTITIES.get(part, f"\\{part}")

    return _SPECIAL.sub(escaped, visible(text))


def data_uri(picture: str) -> str:
    """A picture as the address of an image. Nothing in an image runs."""
    return "data:image/svg+xml;base64," + base64.b64encode(picture.encode()).decode()


def direction(line: str) -> str:
    """The direction of a line: that of its first letter, `ltr` or `rtl`."""
    kinds = (unicodedata.bidirectional(each) for each in line)
    strong = next((kind for kind in kinds if kind in ("L", "R", "AL")), "L")
    return "ltr" if strong == "L" else "rtl"


def _shown(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _shown_in_markdown(value: Any) -> Any:
    if isinstance(value, str) and not isinstance(value, Markup):
        return Markup(escape_markdown(value))
    return value


def _quoted(text: str) -> Markup:
    """A text as a quotation in Markdown."""
    lines = escape_markdown(text).replace("\t", " ").splitlines() or [""]
    return Markup("\n>\n".join(f"> {line.strip()}" for line in lines))


def _cell(text: str) -> Markup:
    """A text in a table of Markdown, which has one line."""
    return Markup(escape_markdown(" ".join(text.split())))


def _environment(finalize: Callable[[Any], Any]) -> Environment:
    return Environment(
        loader=PackageLoader("pipelines.reports"),
        autoescape=True,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


@cache
def _pages() -> Environment:
    found = _environment(_shown)
    found.filters |= {"data_uri": data_uri, "direction": direction}
    return found


@cache
def _texts() -> Environment:
    found = _environment(_shown_in_markdown)
    found.filters |= {"quoted": _quoted, "cell": _cell}
    return found


@cache
def _style() -> str:
    return _pages().get_template("style.css").render()
