"""Letters: what they say, and what they do not."""

from __future__ import annotations

import re

import pytest

from monitor.config import Settings
from monitor.detectors import ALERT_KINDS
from monitor.errors import ConfigError
from pipelines.cases.review.letter import (
    FORMATS,
    Measure,
    content_of,
    form_of,
    new_reference,
    render,
)

NOW = 1_780_000_000.0
REFERENCE = "R-7Q3M-K9ZD-20XF"
BLOCK = Measure("block", NOW)


def letter(kinds, *, measure=BLOCK, form=None, type="api_key", **cases):
    settings = Settings(cases=cases)
    content = content_of(REFERENCE, type, {*kinds}, measure, settings, NOW)
    return render(content, settings, form)


def test_letter_says_what_was_done_and_how_to_appeal():
    text = letter(["burst"], appeal_contact="appeals@example.com", appeal_days=10, answer_days=5)
    said = " ".join(text.split())
    assert "Its requests are refused, since 28 May 2026." in said
    assert f"Answer until 7 June 2026 and quote the reference {REFERENCE}." in said
    assert "Write to appeals@example.com." in said
    assert "answers within 5 days" in said
    assert "made by a program" in said
    assert max(map(len, text.splitlines())) <= 76


def test_letters_are_the_same_whatever_detector_found_the_key():
    alone = {kind: letter([kind]) for kind in ALERT_KINDS if kind != "takeover"}
    assert len({*alone.values(), letter(["burst", "elicitation", "combined"])}) == 1


@pytest.mark.parametrize("form", FORMATS)
def test_letter_gives_no_detail_of_detection(form):
    text = letter([*ALERT_KINDS, "campaign"], form=form)
    words = {*re.findall(r"[a-z]+", text.lower())}
    ours = {*ALERT_KINDS, "detector", "threshold", "score", "severity", "network", "mark"}
    assert not words & (ours - {"pivot"})
    said = re.sub(rf"{REFERENCE}|28 May 2026|27 June 2026|within 14 days|utf-8|h[12]>", "", text)
    assert not re.search(r"\d", said)


def test_letter_on_a_key_that_was_taken_over_accuses_nobody():
    text = letter(["takeover"], measure=Measure("challenge", NOW))
    assert "in the hands of somebody else" in text
    assert "train another model" not in text


@pytest.mark.parametrize("form", FORMATS)
def test_letter_has_the_format_that_is_asked_for(form):
    assert form_of(letter(["burst"], form=form)) == form


def test_contact_stays_text_in_a_page():
    assert "&lt;script&gt;" in letter(["burst"], form="html", appeal_contact="<script>")


def test_providers_template_is_used(tmp_path):
    template = tmp_path / "letter.md.j2"
    template.write_text("# {{ subject }} {{ reference }}: {{ measures[0] }}")
    text = letter(["burst"], type="account", letter_template=template)
    assert text == f"# account {REFERENCE}: Its requests are refused, since 28 May 2026."
    with pytest.raises(ConfigError, match=r"is no \.html"):
        letter(["burst"], form="html", letter_template=template)


@pytest.mark.parametrize(
    "source", ["{{ case }}", "{% if %}", "{{ ''.__class__.__mro__ }}", "{{ measures.append(1) }}"]
)
def test_template_that_cannot_be_used_is_named(tmp_path, source):
    template = tmp_path / "letter.txt"
    template.write_text(source)
    with pytest.raises(ConfigError, match="It may use the names reference, subject"):
        letter(["burst"], letter_template=template)


def test_missing_template_is_named(tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        letter(["burst"], letter_template=tmp_path / "none.txt")


def test_references_are_random():
    found = {new_reference() for _ in range(100)}
    assert len(found) == 100
    assert all(re.fullmatch(r"R(-[0-9A-HJKMNP-TV-Z]{4}){3}", each) for each in found)
