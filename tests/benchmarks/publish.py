"""Copy the printed tables of benchmarks into their page.

    python -m tests.benchmarks.publish LOG ... [--page deploy/docs/benchmarks.md]

A benchmark prints the date, the machine and its command, and then its tables. This output replaces
the text between `<!-- speed.throughput -->` and `<!-- end -->` on the page if all words of the
marker are in the command; of several such markers, the one with the most words is chosen. Files in
commands are printed without their folders.
"""

from __future__ import annotations

import argparse
import re
from pathlib import Path

_MACHINE = re.compile(r"^\d{4}-\d\d-\d\d, .*: `python -m tests\.(?:benchmarks\.)?(.+)`$", re.M)
_BLOCK = re.compile(r"<!-- ([\w.][^>]*?) -->\n(.*?)<!-- end -->", re.S)
_FOLDERS = re.compile(r"(?<=\s)/\S*/(?=\S)")


def main() -> None:
    options = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    options.add_argument("logs", nargs="+", type=Path, metavar="LOG", help="output of benchmarks")
    options.add_argument("--page", type=Path, default=Path("deploy/docs/benchmarks.md"))
    chosen = options.parse_args()
    page = chosen.page.read_text()
    for log in chosen.logs:
        try:
            page = published(page, log.read_text())
        except ValueError as error:
            raise SystemExit(f"{log}: {error}") from None
    chosen.page.write_text(page)


def published(page: str, output: str) -> str:
    """A page with the output of a benchmark.

    Raises:
        ValueError: if the output has no command, or the page has no place for it.
    """
    found = _MACHINE.search(output)
    if found is None:
        raise ValueError("no line with a date and a command; did the benchmark fail?")
    words = found[1].split()
    fitting = [block for block in _BLOCK.finditer(page) if set(block[1].split()) <= set(words)]
    if not fitting:
        raise ValueError(f"no marker on the page for {words[0]}")
    block = max(fitting, key=lambda each: len(each[1].split()))
    text = _FOLDERS.sub("", output[found.start() :]).strip()
    return f"{page[: block.start(2)]}{text}\n{page[block.end(2) :]}"


if __name__ == "__main__":
    main()
