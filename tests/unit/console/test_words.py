"""The texts of the console: each is used, and each that is used exists."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest
from markupsafe import Markup

from monitor.detectors import ALL_DETECTORS
from pipelines.console import words

CONSOLE = Path(words.__file__).parent
QUOTED = re.compile(r"""["']([a-z0-9_]+(?:\.[a-z0-9_]+)*\.?)["']""")
CALLED = re.compile(r"""\bt\(\s*["']([a-z0-9_.]+)["']""")


def sources() -> str:
    """All templates and modules of the console."""
    modules = [file for file in CONSOLE.rglob("*.py") if file.name != "words.py"]
    files = [*CONSOLE.glob("templates/**/*.html"), *modules]
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def test_each_text_is_used() -> None:
    quoted = set(QUOTED.findall(sources()))
    unused = {
        name
        for name in words.read().texts
        if name not in quoted and name.rpartition(".")[0] + "." not in quoted
    }
    assert unused == set()


def test_each_text_that_is_used_exists() -> None:
    texts = words.read().texts
    called = {name for name in CALLED.findall(sources()) if not name.endswith(".")}
    assert called - texts.keys() == set()
    sections = {name for name in CALLED.findall(sources()) if name.endswith(".")}
    assert {each for each in sections if not any(name.startswith(each) for name in texts)} == set()


def test_each_measure_of_a_finding_has_a_text() -> None:
    texts = words.read().texts
    shown = {
        (name, f"kind.{evidence.label}")
        for detector in ALL_DETECTORS
        for name, evidence in detector.evidence.items()
        if evidence.shown
    }
    assert {
        name for name, kind in shown if f"measure.{name}" not in texts and kind not in texts
    } == set()


def test_templates_hold_no_english() -> None:
    found = {
        (file.name, text)
        for file in CONSOLE.glob("templates/**/*.html")
        for text in re.findall(
            r"""(?:>|title="|aria-label="|placeholder=")\s*([A-Z][a-z]+(?: [a-z]+)*)""",
            re.sub(r"{#.*?#}|{%.*?%}|{{.*?}}", "", file.read_text(encoding="utf-8"), flags=re.S),
        )
    }
    assert found == set()


@pytest.mark.parametrize("value", ["<b>", Markup("<b>&lt;</b>")])
def test_words_escape_values_beside_markup(value: str) -> None:
    say = words.Words({"who": "{name} & {link}"})
    assert "<b>" not in str(say("who", name="<b>", link=Markup("<i></i>")))
    assert isinstance(say("who", name="<b>", link="<b>"), str)
    assert say("who", name=value, link=Markup("x")).endswith(" &amp; x")


def test_values_as_text() -> None:
    assert doctest.testmod(words).failed == 0
