"""The files that browsers load come from where they say they do, and from nowhere else."""

from __future__ import annotations

import hashlib
import re
import tomllib

from pipelines.console.assets import FOLDER, TEMPLATES, asset

VENDORED = FOLDER / "vendor"


def test_vendored_files_are_as_published() -> None:
    table = tomllib.loads((VENDORED / "versions.toml").read_text())["file"]
    digests = {
        each["name"]: hashlib.sha256((VENDORED / each["name"]).read_bytes()).hexdigest()
        for each in table
    }
    assert digests == {each["name"]: each["sha256"] for each in table}
    assert {file.name for file in VENDORED.iterdir() if file.suffix in {".js", ".css"}} == set(
        digests
    )


def test_vendored_files_have_their_licences() -> None:
    for file in (*VENDORED.glob("*.js"), *VENDORED.glob("*.css")):
        assert (VENDORED / f"{file.name.partition('.')[0]}.LICENSE").read_text().strip()


def test_address_of_a_file_changes_with_its_content() -> None:
    assert re.fullmatch(r"/static/console\.css\?v=[0-9a-f]{12}", asset("console.css"))


def test_pages_load_only_own_files() -> None:
    for file in (*TEMPLATES.rglob("*.html"), *FOLDER.glob("*.css"), *FOLDER.glob("*.js")):
        text = file.read_text(encoding="utf-8")
        assert not re.search(
            r"""(?:src|href|url\(|import)\s*[=(]?\s*["']?(?:https?:)?//""", text
        ), file


def test_templates_hold_no_inline_script_or_style() -> None:
    for file in TEMPLATES.rglob("*.html"):
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"\|\s*safe\b|autoescape\s+false", text), file
        text = re.sub(r"{#.*?#}|{%.*?%}|{{.*?}}", "", text, flags=re.S)
        assert not re.search(
            r"<script(?![^>]*\ssrc=)|<style|\sstyle=|\son[a-z]+=|hx-on|javascript:", text
        ), file
