"""Values in words."""

from __future__ import annotations

import pytest

from pipelines.reports import words


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.0731, "share", "7.3%"),
        (1.0, "share", "100%"),
        (20.0, "count", "20"),
        (6.25, "deviations", "6.25 standard deviations"),
        (123_456.7, "per hour", "123,457 per hour"),
        (None, "count", "not known"),
        (float("nan"), "", "not known"),
    ],
)
def test_number_has_unit(value: float | None, unit: str, text: str) -> None:
    assert words.number(value, unit) == text


@pytest.mark.parametrize(
    ("probability", "text"),
    [
        (1e-5, "1 in 100,000"),
        (3.2e-6, "1 in 310,000"),
        (3.2e-8, "less than 1 in 1,000,000"),
        (0.0, "less than 1 in 1,000,000"),
        (0.9, "more than 1 in 2"),
        (float("nan"), "more than 1 in 2"),
    ],
)
def test_odds_never_overstate(probability: float, text: str) -> None:
    assert words.odds(probability) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(20.0, "less than a minute"), (93_600.0, "1 day 2 hours"), (86_460.0, "1 day")],
)
def test_duration_has_two_units(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize("ts", [0.0, float("nan"), 1e300])
def test_moment_that_is_no_date_is_not_known(ts: float) -> None:
    assert words.moment(ts) == "not known"


def test_visible_spells_out_reversal_and_escape_sequences() -> None:
    assert words.visible("a\u202eb\x1b[31m\ud800") == "a⟨U+202E⟩b⟨U+001B⟩[31m⟨U+D800⟩"


def test_visible_keeps_lines_and_other_scripts() -> None:
    text = "\u05e9\u05dc\u05d5\u05dd\n\u0645\u0631\u062d\u0628\u0627 \u4f60\u597d"
    assert words.visible(text) == text
