"""The English text of the console, from one file, and values as text.

Pages and templates write `t("now.title")` or `t("keys.count", n=3)`. A value that is markup, such
as a link from a macro, stays markup; all other values are escaped where they meet markup.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from markupsafe import Markup, escape

ENGLISH = Path(__file__).with_name("english.toml")

_STYLES = {"date": "%Y-%m-%d", "minute": "%Y-%m-%d %H:%M UTC", "relative": "%Y-%m-%d %H:%M UTC"}
_PLACES = {
    "a_[0-9a-f]{20}": "/alerts/",
    "case_.+": "/cases/",
    "[kau]_.+": "/keys/",
    "c_.+": "/campaigns/",
    "[pn]_.+": "/traits/",
}
_NONE = "\u2013"
_SHORT = 10  # characters of a shortened id, after its prefix
_LATEST = 253_402_300_799.0  # the last second that a date can have


class Words:
    """All texts of the console.

    >>> words = Words({"keys": {"one": "{n} key", "other": "{n} keys"}})
    >>> words("keys", n=1200)
    '1,200 keys'

    Args:
        texts: by page and name, as in `english.toml`.
    """

    def __init__(self, texts: Mapping[str, Any]) -> None:
        self.texts = dict(_flat(texts))

    def __call__(self, name: str, /, **values: Any) -> str:
        """The text of a name; an unknown name is an error of the programmer.

        Raises:
            KeyError: if there is no such text.
        """
        found = self.texts[name]
        text: str = (
            found if isinstance(found, str) else found["one" if values["n"] == 1 else "other"]
        )
        values = {key: _value(value) for key, value in values.items()}
        if any(isinstance(value, Markup) for value in values.values()):
            return escape(text).format(**values)
        return text.format(**values) if values else text

    def get(self, name: str, default: str) -> str:
        """The text of a name that comes from data, such as a kind that is not known here."""
        text = self.texts.get(name)
        return text if isinstance(text, str) else default


def read(file: Path = ENGLISH) -> Words:
    """Read the file of texts."""
    return Words(tomllib.loads(file.read_text(encoding="utf-8")))


def _flat(texts: Mapping[str, Any], before: str = "") -> Any:
    for name, text in texts.items():
        if isinstance(text, str) or text.keys() == {"one", "other"}:
            yield before + name, text
        else:
            yield from _flat(text, f"{before}{name}.")


def _value(value: Any) -> Any:
    return count(value) if isinstance(value, int) and not isinstance(value, bool) else value


def count(value: float) -> str:
    """A number with separators of thousands.

    >>> count(1234567), count(2.345)
    ('1,234,567', '2.35')
    """
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}".rstrip("0").rstrip(".")


def compact(value: float) -> str:
    """A number of three digits at most, for figures that stand beside others.

    >>> compact(999), compact(12_345), compact(1_234_567), compact(4.2e9)
    ('999', '12.3k', '1.23M', '4.2G')
    """
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}" if value != int(value) else str(int(value))


def figure(value: float) -> str:
    """A measured number, with three digits that count.

    >>> figure(0.24383999), figure(1.17e-11), figure(1234.5), figure(12.0)
    ('0.244', '1.17e-11', '1,234', '12')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def money(value: float, currency: str = "$") -> str:
    """An amount of money; cents only where they matter. Without a price there is none.

    >>> money(0.004), money(3.5), money(12345.6)
    ('< $0.01', '$3.50', '$12,346')
    """
    if not value:
        return _NONE
    if value < 0.01:
        return f"< {currency}0.01"
    return f"{currency}{value:,.0f}" if value >= 100 else f"{currency}{value:,.2f}"


def percent(share: float) -> str:
    """A share as a percentage.

    >>> percent(0.5), percent(0.0123), percent(0.00004)
    ('50%', '1.2%', '< 0.1%')
    """
    if 0 < share < 0.001:
        return "< 0.1%"
    return f"{share * 100:.0f}%" if share >= 0.1 or share == 0 else f"{share * 100:.1f}%"


def span(seconds: float) -> str:
    """A duration in its two largest units.

    >>> span(59), span(3_700), span(180_000)
    ('59 s', '1 h 1 min', '2 d 2 h')
    """
    rest = int(seconds)
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    first = next((at for at, (_, size) in enumerate(units) if rest >= size), 3)
    parts: list[str] = []
    for name, size in units[first : first + 2]:
        number, rest = divmod(rest, size)
        if number or not parts:
            parts.append(f"{number} {name}")
    return " ".join(parts)


def short(name: str) -> str:
    """The beginning of an id, enough to recognize it on a page.

    >>> short("k_0123456789abcdef01234567"), short("u_short")
    ('k_0123456789…', 'u_short')
    """
    kept = _SHORT + (2 if name[1:2] == "_" else 0)
    return name if len(name) <= kept + 1 else name[:kept] + "…"


def path(subject: str) -> str:
    """The page of a subject, an alert or a case; empty for what has none.

    >>> path("k_01"), path("c_01"), path("p_../x"), path("case_01"), path("burst")
    ('/keys/k_01', '/campaigns/c_01', '/traits/p_..%2Fx', '/cases/case_01', '')
    """
    folder = next((each for form, each in _PLACES.items() if re.fullmatch(form, subject)), "")
    return folder and folder + quote(subject, safe="")


def iso(ts: float) -> str:
    """Epoch seconds as the value of an HTML `datetime`."""
    return datetime.fromtimestamp(_bounded(ts), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def utc(ts: float, style: str = "minute") -> str:
    """Epoch seconds as text, for readers without JavaScript."""
    return datetime.fromtimestamp(_bounded(ts), UTC).strftime(_STYLES[style])


def _bounded(ts: float) -> float:
    return min(max(ts, 0.0), _LATEST)


FILTERS: dict[str, Callable[..., str]] = {
    each.__name__: each
    for each in (count, compact, figure, money, percent, span, short, path, iso, utc)
}
