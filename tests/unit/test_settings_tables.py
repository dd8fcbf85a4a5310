"""The tables of settings in the documentation."""

from __future__ import annotations

import pytest

from monitor.errors import InputError
from pipelines.setup.reference import listed, write

PAGE = "Text.\n\n<!-- settings: {} -->\n{}<!-- end -->\n\nMore.\n"


def test_table_has_the_named_sections_and_settings() -> None:
    written = write(PAGE.format("campaigns, registry.ca_file", "old\n"))
    assert "| `XM_CAMPAIGNS__LEAST_MEMBERS` | `5` | smallest campaign" in written
    assert "| `XM_CAMPAIGNS__WEIGHTS` | shipped | JSON file" in written
    assert "| `XM_REGISTRY__CA_FILE` | the system's | CA certificates, PEM |" in written
    assert "old" not in written
    assert written.startswith("Text.\n")
    assert written.endswith("\nMore.\n")
    assert write(written) == written
    assert listed(written)[-1] == "registry.ca_file"


def test_unknown_section_is_an_error() -> None:
    with pytest.raises(InputError, match="no settings campaign:"):
        write(PAGE.format("campaign", ""))
