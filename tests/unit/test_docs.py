"""The documentation: links lead somewhere, commands and settings exist, examples work."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import typer
import yaml
from prometheus_client.metrics import MetricWrapperBase

from monitor.alerting.alerts import Alert
from monitor.alerting.policy import action_for
from monitor.config import Settings, catalogue
from monitor.detectors import ALL_DETECTORS
from monitor.identity import from_settings
from monitor.metrics import Metrics
from monitor.requests.decoder import Decoder
from monitor.requests.reasons import REASONS
from pipelines.cli.main import app
from pipelines.decide.metrics import LookupMetrics
from pipelines.forward.metrics import ForwardMetrics
from pipelines.setup import reference
from tests.support.settings import setting_defaults

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "deploy/docs"
LOUD = ("warning", "critical")  # severities that decide more than to observe
NONE = "\N{EN DASH}"  # in a table
PAGES = [ROOT / "README.md", ROOT / "deploy/README.md", *sorted(DOCS.glob("*.md"))]
OTHER_VARIABLES = {
    "XM_TEST_AXE",
    "XM_TEST_LITELLM",
    "XM_RECEIVERS__ROUTES__PAGER__TYPE",
    "XM_CONFIG",
    "XM_PORT",
    "XM_SERVICE_HOST",
    "XM_TEST_KAFKA",
    "XM_TEST_REDIS",
    "XM_TEST_REQUIRE",
}
COMMANDS: Any = typer.main.get_command(app)
COMMANDS.load()

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", text_of(page), re.DOTALL | re.MULTILINE)


def prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", text_of(page), flags=re.DOTALL | re.MULTILINE)


def tables(page: Path) -> Iterator[list[str]]:
    for line in prose(page).splitlines():
        if line.startswith("|"):
            yield [cell.strip() for cell in line.strip("|").split("|")]


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links(page: Path) -> list[str]:
    found = re.findall(r"\[[^\]]*\]\(([^)\s]+)\)", prose(page))
    return [link for link in found if "://" not in link]


def shell_commands(page: Path) -> Iterator[list[str]]:
    """The arguments of every `xm` command in shell blocks."""
    for line in "\n".join(blocks(page, "bash")).replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line.replace("…", "x"), posix=True, punctuation_chars="|&<>;")
        lexer.whitespace_split = True
        command: list[str] = []
        for word in [*lexer, ";"]:
            if not set(word) <= set("|&<>;"):
                command.append(word)
                continue
            if "exec" in command:  # `docker compose exec monitor xm …`, `kubectl exec … -- xm …`
                command = command[command.index("xm") :]
            while command and re.match(r"\w+=", command[0]):
                command = command[1:]
            if command and command[0] in ("xm", "extraction-monitor"):
                yield command[1:]
            command = []


def mentioned_commands(page: Path) -> list[list[str]]:
    """The arguments of every `xm` command in inline code. Required ones may be left out."""
    found = re.findall(r"`(?:xm|extraction-monitor) ([^`]+)`", prose(page))
    return [shlex.split(each) for each in found]


def parse(arguments: list[str]) -> None:
    """Parse a command line as `xm` would, without running it."""
    command, name, parent = COMMANDS, "xm", None
    while hasattr(command, "resolve_command"):
        context = command.make_context(name, list(arguments), parent=parent)
        rest = [*context._protected_args, *context.args]
        if not rest:  # `xm campaigns` runs without a subcommand
            return
        name, command, arguments = command.resolve_command(context, rest)
        parent = context
    command.make_context(name, list(arguments), parent=parent)


@each_page
def test_relative_links_resolve(page: Path):
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        if anchor:
            assert anchor in anchors(target), link


def test_readme_is_short_and_starts_with_response():
    assert len(text_of(ROOT / "README.md").splitlines()) <= 250
    assert links(ROOT / "README.md")[0] == "deploy/docs/respond.md"


@each_page
def test_commands_in_docs_exist(page: Path):
    for arguments in shell_commands(page):
        parse(arguments)
    for arguments in mentioned_commands(page):
        try:
            parse(arguments)
        except typer.BadParameter as error:
            if not str(error).startswith("Missing parameter"):
                raise


def test_docs_show_every_command():
    shown = {" ".join(arguments[:2]) for page in PAGES for arguments in shell_commands(page)}
    known = {
        f"{name} {subname}"
        for name, command in COMMANDS.commands.items()
        for subname in getattr(command, "commands", [""])
    }
    missing = [name for name in known if not any(each.startswith(name.strip()) for each in shown)]
    assert missing == []


def options(command: Any) -> set[str]:
    """The long options of a command and its subcommands."""
    own = {name for each in command.params for name in each.opts if name.startswith("--")}
    return own.union(*(options(each) for each in getattr(command, "commands", {}).values()))


def test_docs_name_every_option():
    named = {name for page in PAGES for name in re.findall(r"--[a-z][a-z-]+", text_of(page))}
    assert options(COMMANDS) - named == set()


@pytest.mark.parametrize("wrong", ["explian k_1", "explain k_1 --rwa", "campaigns shwo c_1"])
def test_parse_rejects_unknown_commands_and_options(wrong: str):
    with pytest.raises(Exception, match="No such"):
        parse(wrong.split())


@each_page
def test_variables_in_docs_are_settings(page: Path):
    named = set(re.findall(r"\bXM_[A-Z_]*[A-Z]", text_of(page)))
    assert named - setting_defaults().keys() - OTHER_VARIABLES == set()


def test_configuration_page_is_written_from_the_settings():
    page = text_of(DOCS / "configuration.md")
    assert page == reference.write(page), "run `xm config docs deploy/docs/configuration.md`"
    assert sorted(reference.listed(page)) == sorted(each.name for each in catalogue.settings())


def test_every_setting_is_described():
    assert [each.name for each in catalogue.settings() if not each.meaning] == []


def test_configuration_page_lists_all_rejection_reasons():
    rows = tables(DOCS / "configuration.md")
    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    assert set(REASONS) <= listed


def test_pre_commit_runs_the_checks_of_ci():
    config = yaml.safe_load(text_of(ROOT / ".pre-commit-config.yaml"))
    (step,) = re.findall(
        r'^step "Lint and types"\n(.+?)\n\n', text_of(ROOT / ".ci/run"), re.M | re.S
    )
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    assert [hook["entry"] for hook in hooks] == step.splitlines()
    assert {hook["language"] for hook in hooks} == {"system"}


def test_detector_example_is_the_tested_one():
    tested = text_of(ROOT / "tests/unit/detectors/test_add_detector.py")
    examples = blocks(DOCS / "contribute.md", "python")
    assert len(examples) == 2
    for example in examples:
        imports = re.findall(r"^(?:from|import) .+\n", example, re.MULTILINE)
        assert all(line in tested for line in imports)
        code = re.sub(r"\A(?:(?:from|import) .+\n|\n)+", "", example)
        assert code in tested + "\n"


def test_docs_describe_all_kinds_of_alerts():
    for page in (ROOT / "README.md", DOCS / "detection.md"):
        listed = {name for row in tables(page) for name in re.findall(r"`(\w+)`", row[0])}
        assert {each.name for each in ALL_DETECTORS} <= listed


def test_example_mapping_is_accepted():
    examples = [tomllib.loads(block) for block in blocks(DOCS / "configuration.md", "toml")]
    mappings = [example["mapping"] for example in examples if "mapping" in example]
    assert mappings
    for mapping in mappings:
        Decoder(mapping)


def test_example_request_and_alert_are_valid():
    request, alert = sorted(blocks(ROOT / "README.md", "json"), key=lambda text: "subject" in text)
    decoded = Decoder("native").decode([request.encode()], 1772409601.0)
    assert decoded.rejections == []
    msgspec.json.decode(alert, type=Alert)


def test_readme_states_decision_of_each_alert():
    rows = {
        re.match(r"`(\w+)`", row[0])[1]: row  # type: ignore[index]
        for row in tables(ROOT / "README.md")
        if len(row) == 5 and row[0].startswith("`")
    }
    for kind, row in rows.items():
        highest = re.search(r"Never above `(\w+)`", row[2])
        reached = {"info": (), "warning": ("warning",)}.get(highest[1] if highest else "", LOUD)
        assert row[3:] == [f"`{action_for(kind, s)}`" if s in reached else NONE for s in LOUD]
    assert len(rows) == 10


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("key", ["sk-one", "sk-two"]),
        ("account", ["acme", "globex"]),
        ("end_user", ["sk-one\tvisitor-1", "sk-one\tvisitor-2"]),
    ],
)
def test_whose_key_script_finds_the_name(tmp_path: Path, kind: str, names: list[str]):
    (script,) = [block for block in blocks(DOCS / "respond.md", "python") if "whose_key" in block]
    (tmp_path / "whose_key.py").write_text(script)
    secret = "known to this test only, 32 bytes"
    identity = from_settings(Settings(identity_secret=secret))
    pseudonym = getattr(identity, kind)(*names[1].split("\t"))
    done = subprocess.run(
        [sys.executable, "whose_key.py", pseudonym],
        cwd=tmp_path,
        env={**os.environ, "XM_IDENTITY_SECRET": secret, "PYTHONPATH": str(ROOT)},
        input="".join(f"{name}\n" for name in names),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == (f"{names[1]}\n", "")


def test_documented_log_events_are_those_of_the_code() -> None:
    sources = [
        path.read_text()
        for room in ("monitor", "pipelines")
        for path in (ROOT / room).rglob("*.py")
    ]
    logged = {
        event
        for source in sources
        for event in re.findall(r'log\.(?:info|warning|error)\(\s*"(\w+)', source)
    }
    page = (DOCS / "operations.md").read_text()
    table = page.partition("| event | meaning |")[2].partition("\n\n")[0]
    rows = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert {event for row in rows for event in re.findall(r"`(\w+)`", row)} == logged


def test_operations_page_lists_all_metrics_with_labels() -> None:
    rows = " ".join(row[0] for row in tables(DOCS / "operations.md"))
    listed = dict(re.findall(r"`(xm_\w+)(?:\{([\w,]+)\})?`", rows))
    metrics = [
        each
        for owner in (Metrics(), ForwardMetrics(), LookupMetrics())
        for each in vars(owner).values()
        if isinstance(each, MetricWrapperBase)
    ]
    suffix = {"counter": "_total"}
    build = {"xm_build_info": "version,python"}
    subjects = {each.name: ",".join(each._labelnames) for each in Metrics().subjects.describe()}
    assert listed == build | subjects | {
        each._name + suffix.get(each._type, ""): ",".join(each._labelnames) for each in metrics
    }
