"""Shell blocks of the documentation, and a shell that runs those of a page in order.

A block runs unless the line above it says why not: `<!-- not run: needs Docker -->`.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import NamedTuple

from pipelines.supervisor.child import die_with_parent

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "deploy/README.md",
    *sorted((ROOT / "deploy/docs").glob("*.md")),
    *sorted((ROOT / "deploy/gateways").glob("*/README.md")),
]
_BLOCK = re.compile(
    r"(?:^<!-- not run: (?P<reason>[^\n]+) -->\n)?^```bash\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_SERVICE_SECONDS = 300.0
_END_SECONDS = 60.0

# `xm` as a reader has it, except that a command which runs until it is stopped does so in the
# background, as in a second terminal. It returns when the service is ready.
_XM = """\
#!/bin/bash
case "$1" in
worker) page=http://127.0.0.1:$XM_WEB_PORT/readyz ;;
serve) page=http://127.0.0.1:$XM_SERVE__PORT/readyz ;;
forward) page=http://127.0.0.1:$XM_FORWARD__PORT/readyz ;;
status | doctor) for _ in $(seq 60); do  # until every process has reported
        {client} "$@" && exit
        sleep 0.5
    done
    exit 1 ;;
*) if [[ "$*" == *"--raw network"* ]]; then exec {client} "$@" <<<198.51.100.7; fi
    if [ /dev/null -ef /dev/stdin ]; then exec {client} "$@" <{services}/typed; fi
    exec {client} "$@" ;;
esac
case "$*" in *"--role decide"*) page=http://127.0.0.1:$XM_SERVE__PORT/readyz ;; esac
for former in {services}/*.page; do
    if [ -e "$former" ] && [ "$(cat "$former")" = "$page" ]; then  # it is on the same port
        kill "$(cat "${{former%.page}}.pid")"
        while kill -0 "$(cat "${{former%.page}}.pid")" 2>/dev/null; do sleep 0.05; done
        rm "$former" "${{former%.page}}.pid"
    fi
done
log={services}/$1.$$.log
echo "$page" >{services}/$1.$$.page
{client} "$@" >"$log" 2>&1 </dev/null &
echo $! >{services}/$1.$$.pid
until curl -sfo /dev/null --max-time 2 "$page"; do
    kill -0 $! 2>/dev/null || {{ cat "$log" >&2; exit 1; }}
    sleep 0.05
done
"""


class Block(NamedTuple):
    """A shell block of a page.

    Attributes:
        line: of its fence.
        reason: why it does not run; `None` if it does.
    """

    page: Path
    line: int
    text: str
    reason: str | None


def blocks_of(page: Path) -> list[Block]:
    """The shell blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, found["text"], found["reason"])
        for found in _BLOCK.finditer(text)
    ]


def scripts_of(page: Path) -> list[tuple[str, str]]:
    """The Python and TOML blocks of a page that begin with their name, `# whose_key.py: …`."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(
        r"^```(?:python|toml)\n(# (\w+\.\w+): .*?)^```$", text, re.MULTILINE | re.DOTALL
    )
    return [(each[2], each[1]) for each in found]


class Shell:
    """Runs blocks one after the other in a folder; what a block exports stays for the next.

    Args:
        page: whose Python scripts are files in the folder.
        folder: where the blocks run.
        client: the program that runs a command of `xm` in the fork server.
        variables: environment variables at the beginning.
        typed: what a reader types when a command prompts.
        values: of the documentation's placeholders; one that is not known yet is a function of
            all output so far.
    """

    def __init__(
        self,
        page: Path,
        folder: Path,
        client: Path,
        variables: Mapping[str, str],
        *,
        typed: str,
        values: Mapping[str, str | Callable[[str], str]],
    ) -> None:
        self.folder, self._programs = folder / "page", folder / "programs"
        for each in (self.folder, self._programs):
            each.mkdir()
        (self._programs / "typed").write_text(f"{typed}\n")
        for name in ("xm", "extraction-monitor"):
            text = _XM.format(client=client, services=self._programs)
            (self._programs / name).write_text(text)
            (self._programs / name).chmod(0o755)
        self._values, self._shown = values, ""
        for name, text in scripts_of(page):
            (self.folder / name).write_text(text)
        bare = {name: os.environ[name] for name in os.environ if not name.startswith("XM_")}
        path = f"{self._programs}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        self._environment = bare | {"PATH": path, "PYTHONPATH": str(ROOT)} | dict(variables)

    def run(self, text: str) -> str:
        """Run a block; its output.

        Raises:
            AssertionError: if a command of it fails.
        """
        text = re.sub(r"\b(xm (?:worker|serve|forward)\b[^&\n]*) &$", r"\1", text, flags=re.M)
        text = _filled_in(text, self._values, self._shown)
        kept, output = self._programs / "environment", self._programs / "output"
        script = f"set -euo pipefail\n{text}\nset +u\nenv -0 >{kept}\n"
        with output.open("wb") as out:
            done = subprocess.run(
                ["bash", "-c", script],
                cwd=self.folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                timeout=300,
                preexec_fn=die_with_parent(),
            )
        shown = output.read_text(errors="replace")
        assert done.returncode == 0, f"status {done.returncode} of\n{text}\n{shown[-4000:]}"
        self._shown += shown
        pairs = (pair.partition("=") for pair in kept.read_text().split("\0") if pair)
        self._environment = {name: value for name, _, value in pairs}
        return shown

    def stop(self) -> list[str]:
        """Stop the services that blocks started; the logs of those that failed."""
        failed = []
        for file in sorted(self._programs.glob("*.pid")):
            pid = int(file.read_text())
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                failed.append(file.with_suffix(".log").read_text()[-4000:])
            file.unlink()
            wait_for(lambda pid=pid: not _runs(pid), _END_SECONDS)  # type: ignore[misc]
        return failed


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


def _filled_in(text: str, values: Mapping[str, str | Callable[[str], str]], shown: str) -> str:
    """A block with the placeholders of the documentation replaced, the longest first."""
    for name in sorted(values, key=len, reverse=True):
        if name in text:
            value = values[name]
            text = text.replace(name, value if isinstance(value, str) else value(shown))
    return text


def wait_for(condition: Callable[[], object], seconds: float = _SERVICE_SECONDS) -> None:
    """Wait until a condition holds.

    Raises:
        TimeoutError: if it does not in time.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(str(condition))
        time.sleep(0.05)
