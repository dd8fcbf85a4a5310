"""Prompts per second through the feature kernel on one core, by part, and its accuracy.

    python -m tests.benchmarks.speed.features [TRAFFIC.jsonl]

Prompts are those of the file or simulated. They are measured at 250 bytes (cut or repeated) and at
their own length. In each pass the words are already in the cache, as in a stream that has run for
minutes; the first pass, with an empty cache, is shown too. The cost of a part is that of reading
and the part, minus that of reading alone. The best of many short passes counts, in CPU time of the
thread, because other programs share the machine.
"""

from __future__ import annotations

import argparse
import logging
import platform
import random
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import msgspec
import numba
import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

from monitor.kernels.bits import KERNEL_OPTIONS, U, inner
from monitor.prompts import kernel, word_vectors
from monitor.prompts.bpe import append_tokens
from monitor.prompts.cleaning.windows import LIMIT
from monitor.prompts.extractor import Extractor
from monitor.prompts.kernel import MEANING
from monitor.prompts.lexicon import Lexicon
from monitor.prompts.normalise import Texts
from monitor.prompts.projection import project
from monitor.prompts.segment import segment
from monitor.prompts.style import style_features
from monitor.prompts.template_hash import template_hash
from pipelines.simulation.scenario import Scenario, Simulation
from pipelines.traffic.files import LineFile

_PASSES, _BATCH = 40, 2_000
_SIZE = 250  # bytes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("traffic", nargs="?", help="requests, one per line")
    parser.add_argument("--prompts", type=int, default=20_000)
    arguments = parser.parse_args()
    found = list(islice(_prompts(arguments.traffic), 20 * arguments.prompts))
    chosen = random.Random(1).sample(found, min(arguments.prompts, len(found)))
    sized = [_resize(prompt) for prompt in chosen]
    print(f"{platform.machine()}, Python {platform.python_version()}, numba {numba.__version__}")
    print(f"{len(chosen):,} prompts of {arguments.traffic or 'simulated traffic'}\n")
    print("| step | µs per prompt | prompts/s | MB/s |\n|---|---|---|---|")
    _speed(f"{_SIZE} bytes", sized)
    _speed("original length", chosen)
    print("\n| part, 250 bytes | µs per prompt | prompts/s without it |\n|---|---|---|")
    _parts(sized)
    _library(chosen)


def _prompts(path: str | None) -> Iterator[str]:
    if path is None:
        events: Any = Simulation(Scenario(keys=2_000, hours=24)).events()
    else:
        lines = (line for batch in LineFile(path).batches() for line in batch)
        events = map(msgspec.json.decode, lines)
    for event in events:
        prompt = event.get("prompt") or event.get("messages", [{}])[-1].get("content")
        if prompt:
            yield prompt


def _resize(prompt: str) -> str:
    data = prompt.encode("utf-8", "replace")
    return (data * (_SIZE // len(data) + 1))[:_SIZE].decode("utf-8", "ignore")


def _batches(prompts: list[str]) -> list[Texts]:
    return [Texts.of(prompts[i : i + _BATCH]) for i in range(0, len(prompts), _BATCH)]


def _best(do: Callable[[Any], object], batches: list[Any]) -> float:
    """Seconds for all batches, the best time of each."""
    best = [float("inf")] * len(batches)
    for _ in range(_PASSES):
        for i, batch in enumerate(batches):
            begun = time.thread_time()
            do(batch)
            best[i] = min(best[i], time.thread_time() - begun)
    return sum(best)


def _speed(name: str, prompts: list[str]) -> None:
    batches = _batches(prompts)
    size = sum(len(texts.data) for texts in batches)
    extractor = Extractor(b"1")
    begun = time.thread_time()
    for texts in batches:
        extractor(texts)
    unseen = time.thread_time() - begun
    lists = [prompts[i : i + _BATCH] for i in range(0, len(prompts), _BATCH)]
    for what, seconds in {
        "join": _best(Texts.of, lists),
        "lexicon": _best(Lexicon().match, batches),
        "features, empty cache": unseen,
        "features": _best(extractor, batches),
    }.items():
        each = seconds / len(prompts)
        rates = f"{each * 1e6:.2f} | {1 / each:,.0f} | {size / seconds / 1e6:,.0f}"
        print(f"| {what}, {name} ({size / len(prompts):.0f} bytes) | {rates} |")


def _parts(prompts: list[str]) -> None:
    batches, extractor = _batches(prompts), Extractor(b"1")
    whole = _best(extractor, batches)
    alone = _best(_runner(_nothing, extractor), batches)
    print(f"| reading | {alone / len(prompts) * 1e6:.2f} | |")
    for name, part in _PARTS.items():
        cost = max(_best(_runner(part, extractor), batches) - alone, 0.0)
        without = len(prompts) / (whole - cost)
        print(f"| {name} | {cost / len(prompts) * 1e6:.2f} | {without:,.0f} |", flush=True)


def _runner(part: Any, extractor: Extractor) -> Callable[[Texts], object]:
    """A function that reads a batch and computes one part for each prompt."""
    tables, workspace = extractor.tables, extractor.workspace
    features = extractor(Texts.of([None] * _BATCH))

    @numba.njit(**KERNEL_OPTIONS)  # type: ignore[untyped-decorator]
    def run(buffer: Any, starts: Any, ends: Any, tables: Any, workspace: Any, features: Any) -> int:
        done = 0
        for i in range(len(starts)):
            chunks, n, words, _ = segment(buffer, U(starts[i]), U(ends[i]), tables, workspace)
            part(buffer, chunks, n, words, tables, workspace, features, i)
            done += chunks + words
        return done

    def over(texts: Texts) -> object:
        buffer = np.frombuffer(texts.data, np.uint8)
        return run(buffer, texts.starts, texts.ends, tables, workspace, features)

    over(Texts.of(["This compiles it."]))
    return over


@inner
def _nothing(buffer, chunks, n, words, tables, workspace, features, i):  # type: ignore
    pass


@inner
def _meaning(buffer, chunks, n, words, tables, workspace, features, i):  # type: ignore
    end, _, opening, closing, _ = append_tokens(buffer, chunks, tables, workspace, n)
    kernel._sum(workspace.tokens, end, tables.vectors, workspace.part, workspace.total)
    kernel._normalise(workspace.total, features.meaning, i)
    kernel._sum_few(workspace.tokens, n, opening, tables.vectors, workspace.total)
    kernel._normalise(workspace.total, features.opening, i)
    kernel._sum_few(workspace.tokens, closing, end, tables.vectors, workspace.total)
    kernel._normalise(workspace.total, features.closing, i)


@inner
def _template(buffer, chunks, n, words, tables, workspace, features, i):  # type: ignore
    features.template[i] = template_hash(words, workspace)


@inner
def _cell(buffer, chunks, n, words, tables, workspace, features, i):  # type: ignore
    features.cell[i] = kernel._cell(features.meaning, i, tables.planes)


@inner
def _style(buffer, chunks, n, words, tables, workspace, features, i):  # type: ignore
    style_features(words, workspace, tables.style, features.style, i)


@inner
def _content(buffer, chunks, n, words, tables, workspace, features, i):  # type: ignore
    style_features(words, workspace, tables.style, features.style, i)
    project(features, i, i + 1, tables.projection, workspace.present, workspace.sums)


_PARTS = {
    "meaning": _meaning,
    "template": _template,
    "cell": _cell,
    "style": _style,
    "style, content and lists": _content,
}


def _library(prompts: list[str]) -> None:
    """The speed of the library, and the similarity of our meaning vectors to its vectors.

    Prompts are in lower case, as the kernel reads them.
    """
    logging.disable()  # importing the library configures logging
    from wordllama.inference import WordLlamaInference

    whole = [prompt.lower() for prompt in prompts if len(prompt) <= LIMIT][:3_000]
    home = word_vectors.folder()
    (matrix,) = load_file(home / word_vectors.WEIGHTS).values()
    tokenizer = Tokenizer.from_file(str(home / word_vectors.TOKENIZER))
    library = WordLlamaInference(matrix[:, :MEANING], tokenizer)
    begun = time.process_time()
    theirs = library.embed(whole, norm=True)
    each = (time.process_time() - begun) / len(whole)
    ours = Extractor(b"1")(Texts.of(whole)).meaning.astype(np.float32)
    cosines = (ours * theirs).sum(axis=1) / np.linalg.norm(ours, axis=1)
    low, middle = np.quantile(cosines, [0.05, 0.5])
    print("\n| wordllama, 64 dimensions | |\n|---|---|")
    print(f"| prompts/s of the library, original length | {1 / each:,.0f} |")
    print(f"| cosine of its vector and our meaning, median | {middle:.4f} |")
    print(f"| 5% quantile | {low:.4f} |")


if __name__ == "__main__":
    main()
