"""The page of the first hour, followed from its first block to its last with real programs.

Simulated traffic becomes a page in Alertmanager, a campaign, a decision that nginx enforces, and
one that is lifted.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from pipelines.demo import embedded
from pipelines.demo.embedded import free_port
from pipelines.supervisor.child import die_with_parent
from tests.support.doc_blocks import ROOT, blocks_of
from tests.support.gateways import replaced, write_nginx
from tests.support.programs import compile_kernels, program

PAGE = ROOT / "deploy/docs/first-hour.md"
PORTS = (6066, 6067, 8000, 8080, 8081, 9093)
GROUPS = "curl -s http://127.0.0.1:9093/api/v2/alerts/groups?receiver=on-call >groups.json\n"
SECONDS = 400


def test_first_hour_leads_from_traffic_to_a_page_and_a_refused_key(tmp_path: Path) -> None:
    for each in ("prometheus-alertmanager", "amtool", "nginx"):
        program(each)
    compile_kernels()
    ports = {f"{port}": f"{free_port()}" for port in PORTS}
    with embedded.broker() as kafka, embedded.store() as store:
        shown = follow(tmp_path, ports, {"XM_KAFKA": kafka, "XM_REDIS_URL": store})
    assert "campaign" in pages_of(tmp_path / "groups.json")
    assert '"type":"blocked"' in shown
    assert "first hour, done" in shown.rpartition('"type":"blocked"')[2]


def follow(folder: Path, ports: dict[str, str], servers: dict[str, str]) -> str:
    """Run the blocks of the page in one shell, as a reader does; its output."""
    shutil.copytree(ROOT / "deploy", folder / "deploy", symlinks=True)
    configure_nginx(folder, ports)
    blocks = [block.text for block in blocks_of(PAGE) if block.reason is None]
    script = "".join(f"{text}{GROUPS if 'amtool' in text else ''}" for text in blocks)
    for port, here in ports.items():
        script = script.replace(f"127.0.0.1:{port}", f"127.0.0.1:{here}")
    own = f"daemon off; pid {folder}/nginx.pid; error_log stderr; user root;"
    script = replaced(
        script,
        {"http.server 8000": f"http.server {ports['8000']}", "daemon off;": own},
    )
    bare = {name: os.environ[name] for name in os.environ if not name.startswith("XM_")}
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"
    own_ports = {"XM_WEB_PORT": ports["6066"], "XM_SERVE__PORT": ports["6067"]}
    shell = subprocess.Popen(
        ["bash", "-c", f"set -eu\n{script}"],
        cwd=folder,
        env=bare | embedded.QUICK | servers | own_ports | {"PATH": path},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        preexec_fn=die_with_parent(),
    )
    try:
        shown, _ = shell.communicate(timeout=SECONDS)
    finally:
        os.killpg(shell.pid, signal.SIGKILL)
    logs = {each.name: each.read_text()[-1500:] for each in folder.glob("*.log")}
    assert shell.returncode == 0, f"{shown[-4000:]}\n{logs}"
    return shown


def configure_nginx(folder: Path, ports: dict[str, str]) -> None:
    """Give the copy of the shipped nginx.conf ports and files of this test."""
    file = folder / "deploy/gateways/nginx/nginx.conf"
    changes = {f"127.0.0.1:{port};": f"127.0.0.1:{ports[port]};" for port in ports}
    listed = {shipped: here for shipped, here in changes.items() if shipped in file.read_text()}
    files = {
        "/dev/shm/xm-decisions": f"{folder}/decisions",
        "/var/log/nginx/llm-requests.jsonl": f"{folder}/requests.jsonl",
    }
    write_nginx(file.parent, replaced(file.read_text(), listed | files))


def pages_of(groups: Path) -> set[str]:
    """The types of subjects in Alertmanager's groups that notify the person on call."""
    found: list[dict[str, Any]] = json.loads(groups.read_text())
    return {
        alert["labels"]["subject_type"]
        for group in found
        for alert in group["alerts"]
        if alert["status"]["state"] == "active"
    }
