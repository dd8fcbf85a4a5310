"""What people enter in forms."""

from __future__ import annotations

import pytest
from starlette.datastructures import FormData, QueryParams

from monitor.errors import InputError
from pipelines.console.forms import Fields, day, page_number


def test_fields_read_durations_and_numbers() -> None:
    form = Fields(FormData({"for": "1.5", "for_unit": "hours", "rate": " 20 ", "why": " INC-7 "}))
    assert form.seconds() == 5400.0
    assert (form.number("rate"), form.number("other"), form.text("why")) == (20.0, None, "INC-7")
    assert day("2026-11-28") == 1795824000.0


@pytest.mark.parametrize("number", ["nan", "inf", "-inf", "1e999", "four", "0x4"])
def test_fields_refuse_what_is_no_number(number: str) -> None:
    with pytest.raises(InputError, match="is not a number"):
        Fields(FormData({"rate": number})).number("rate")


def test_fields_refuse_other_choices_and_long_texts() -> None:
    form = Fields(FormData({"action": "<script>", "text": "x" * 20_001, "for": "1"}))
    for wrong in (
        lambda: form.choice("action", ["block"]),
        lambda: form.text("text"),
        form.seconds,
    ):
        with pytest.raises(InputError) as caught:
            wrong()
        assert "<script>" not in str(caught.value)


def test_page_number_is_bounded() -> None:
    numbers = [page_number(QueryParams({"page": text})) for text in ("", "3", "-1", "9" * 30, "x")]
    assert numbers == [1, 3, 1, 1, 1]
