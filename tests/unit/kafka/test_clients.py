"""Every client of Kafka takes its servers, TLS and login from the settings."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[3]
OPTIONS = {"client_options", "async_options", "faust_options"}
CLIENTS = {
    *("KafkaConsumer", "KafkaProducer", "KafkaAdminClient"),
    *("AIOKafkaConsumer", "AIOKafkaProducer", "AIOKafkaAdminClient", "Producer"),
    *("AIOKafkaClient", "AIOKafkaConnection", "create_conn", "App", "_Connection"),
}


def calls(file: Path) -> Iterator[tuple[str, set[str]]]:
    """The clients that a file creates, and the functions whose results they unpack."""
    tree = ast.parse(file.read_text())
    made = {
        target.id: called(node.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called(node) in CLIENTS:
            unpacked = [each.value for each in node.keywords if each.arg is None]
            names = {
                made.get(each.id) if isinstance(each, ast.Name) else called(each)
                for each in unpacked
            }
            yield called(node), {name for name in names if name}


def called(node: ast.AST) -> str:
    """The name of what an expression calls, without its module; empty for other expressions."""
    if not isinstance(node, ast.Call):
        return ""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def test_no_client_bypasses_the_security_settings() -> None:
    found = {
        (str(file.relative_to(ROOT)), name): unpacked
        for room in ("pipelines", "monitor")
        for file in (ROOT / room).rglob("*.py")
        for name, unpacked in calls(file)
    }
    assert {place for place, unpacked in found.items() if not unpacked & OPTIONS} == set()
    known = {"security", "outlet", "topics", "read", "ranges", "offsets", "groups", "app", "run"}
    assert known <= {Path(place).stem for place, _ in found}


def test_bypass_is_found(tmp_path: Path) -> None:
    file = tmp_path / "client.py"
    file.write_text("from kafka import KafkaConsumer\nKafkaConsumer(bootstrap_servers='a:1')\n")
    assert list(calls(file)) == [("KafkaConsumer", set())]
