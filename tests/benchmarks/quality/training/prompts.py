"""Training prompts of the shipped content model: many sources in many wordings.

What is asked for (the working, a judgement, a call) and what it is asked about vary apart from each
other: each wording meets contents of every source, and each list meets contrasts that share its
contents. So a classifier cannot learn one source or one phrase. The wordings are in the TOML files
beside this one, in up to sixteen languages; none of them is from a corpus.
"""

from __future__ import annotations

import argparse
import tomllib
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

_HOME = Path(__file__).parent
_WIDE = {ord(mark): ord(mark) + 0xFEE0 for mark in ",:?!()"}  # full width
_LIMIT = 6000  # characters of a prompt
_ROLES = (("Customer", "Agent"), ("User", "System"), ("user", "assistant"), ("A", "B"), ("-", "-"))
_CODES = {
    **{"de": "german", "nl": "dutch", "fr": "french", "es": "spanish", "pt": "portuguese"},
    **{"it": "italian", "ro": "romanian", "tr": "turkish", "vi": "vietnamese", "ru": "russian"},
}
#: Kinds of LISTS by source; other attack sources serve as contents and contrasts only.
CODE = ("instruct", "gpteacher-codegen", "humaneval-mbpp")
EXAMS = ("reasoning", "bbh", "agieval-zh", "jcommonsense")
TOOLS = ("gpteacher-toolformer", "toolalpaca")


Contents = list[tuple[str, list[str]]]  # prompts of a source, with their language


class Training(NamedTuple):
    """Prompts to fit a content model to.

    Attributes:
        ordinary: what ordinary users and applications send.
        lists: prompts by kind of list.
        contrasts: prompts by kind of list that have its contents without what it asks for.
    """

    ordinary: list[str]
    lists: dict[str, list[str]]
    contrasts: dict[str, list[str]]


class Source(NamedTuple):
    """Prompts of one public source.

    Attributes:
        side: "attack" or "benign".
        pairs: tasks, each with one or more replies.
        is_chat: whether its prompts are what people write.
    """

    name: str
    side: str
    language: str
    prompts: list[str]
    pairs: list[list[str]]
    is_chat: bool


def load(name: str) -> dict[str, Any]:
    """Wordings, from a file beside this one."""
    return tomllib.loads((_HOME / f"{name}.toml").read_text("utf-8"))


def sources(field: dict[str, Any], without: frozenset[str]) -> list[Source]:
    """The sources of the field corpora, except some; talks are chats, and documents as a whole."""
    found, random = [], Random("talks")
    for name, each in field["sources"].items():
        if name in without:
            continue
        talks = [talk for talk in each.get("talks", []) if len(talk) > 2]
        turns = [said for talk in talks for said in talk]
        transcripts = [_transcript(talk, random) for talk in talks[:200]]
        is_chat = name.startswith(("chat-", "wild-", "patients-"))
        parts = (each["prompts"], is_chat), (turns, True), (transcripts, False)
        for texts, of_people in parts:
            prompts = [text[:_LIMIT] for text in dict.fromkeys(texts) if text]
            pairs = each.get("pairs", []) if texts is each["prompts"] else []
            source = Source(name, each["kind"], each["language"], prompts, pairs, of_people)
            found += [source] if prompts else []
    return found


def _transcript(talk: list[str], random: Random) -> str:
    """A conversation as one document."""
    roles = random.choice(_ROLES)
    return "\n".join(f"{roles[i % 2]}: {said}" for i, said in enumerate(talk[:20]))


def training(
    traffic: dict[str, Any], field: dict[str, Any], without: frozenset[str] = frozenset()
) -> Training:
    """Training prompts from both corpora, without the sources of these names."""
    random = Random("training")
    found = sources(field, without)
    attacks = [each for each in found if each.side == "attack"]
    attacks += [
        Source(name, "attack", "en", traffic[name], [], False) for name in ("instruct", "reasoning")
    ]
    sweep = [p for prompts in traffic["sweep"].values() for p in prompts]
    chat = [p[:_LIMIT] for user in traffic["chat"] for p in user[:6] if p]
    ordinary = [*chat, *_small_talk()]
    ordinary += [p for prompts in traffic["templates"].values() for p in prompts[:100]]
    benign = [*(each for each in found if each.side == "benign"), _programs()]
    around = [prompt for each in benign for prompt in _ordinary(each, random)]
    ordinary += around
    contents = [(each.language, _sample(random, each.prompts, 500)) for each in attacks]
    contents.append(("en", _sample(random, [p for p in chat if len(p) > 60], 700)))
    contents.append(("en", _sample(random, sweep, 500)))
    languages = _forms_by_language("cot")
    few = [(each.language, _sample(random, each.prompts, 60)) for each in benign]
    contents += [each for each in few if each[0] in languages]
    bare = [p for _, prompts in contents for p in prompts]
    by_name = {each.name: each for each in attacks}
    cot, grader = _cot(contents, random), _grader(contents, attacks, benign, random)
    framed = _framed(contents, random)
    tools = [*tool_calls(chat, random), *_together(by_name, TOOLS, random)]
    lists = {
        "code": _together(by_name, CODE, random),
        "reasoning": _together(by_name, EXAMS, random),
        "sweep": sweep,
        "cot": cot,
        "grader": grader,
        "tools": tools,
    }
    plain = [*bare, *framed, *around]
    contrasts = {"cot": [*plain, *grader[:500]], "grader": [*plain, *cot[:1000]], "tools": plain}
    return Training(ordinary, lists, contrasts)


def _programs() -> Source:
    """Pieces of Python's standard library."""
    files = sorted(Path(argparse.__file__).parent.glob("*.py"))
    texts = [file.read_text("utf-8") for file in files]
    pieces = [
        f"{file.name}\n{text[i : i + 1500]}"
        for file, text in zip(files, texts, strict=True)
        for i in range(0, len(text), 20_000)
    ]
    return Source("standard library", "benign", "code", pieces, [], False)


def _sample(random: Random, items: Sequence[Any], count: int) -> list[Any]:
    return random.sample(list(items), min(count, len(items)))


def _forms_by_language(name: str) -> dict[str, list[str]]:
    return {key: forms for key, forms in load(name).items() if isinstance(forms, list)}


def _laid_out(form: str, language: str, random: Random) -> str:
    """A wording with one of the layouts that people use."""
    if language in ("zh", "ja") and random.random() < 0.7:
        form = form.translate(_WIDE)
    if random.random() < 0.3:
        form = form.replace("\n\n", random.choice(("\n", " ", "\n\n\n", "\n---\n")))
    return form


def _small_talk() -> list[str]:
    """Chats in languages of which there is no public corpus at hand."""
    random, found = Random("small talk"), []
    for each in load("chats").values():
        topics, asks, turns = (each[name].split("|") for name in ("topics", "asks", "turns"))
        begun = [ask.replace("{topic}", topic) for ask in asks for topic in topics]
        longer = [f"{random.choice(begun)} {random.choice(turns)}" for _ in range(100)]
        more = [f"{random.choice(begun)} {random.choice(begun)}" for _ in range(50)]
        found += [*_sample(random, begun, 150), *topics, *turns, *longer, *more]
    return found


def _ordinary(source: Source, random: Random) -> list[str]:
    """What users or applications send that work with a source."""
    if source.is_chat:
        return source.prompts[:3000] if source.language != "en" else source.prompts[:600]
    found = load("applications")
    forms = found.get(source.language, found["en"] if source.language == "en" else {})
    forms = [form for each in forms.values() for form in each] or ["{}"]
    few = 80 if source.language in _CODES or source.language in ("ar", "hi", "th", "el") else 400
    prompts = _sample(random, source.prompts, few)
    return [
        _laid_out(random.choice(forms), source.language, random).replace("{}", p) for p in prompts
    ]


def _framed(contents: Contents, random: Random) -> list[str]:
    """Contents of all sources in the wordings of ordinary applications."""
    found, out = load("applications"), []
    for language, prompts in contents:
        forms = [f for each in found.get(language, found["en"]).values() for f in each]
        wordings = [_laid_out(random.choice(forms), language, random) for _ in prompts[:250]]
        out += [w.replace("{}", p) for w, p in zip(wordings, prompts, strict=False)]
    return out


def _cot(contents: Contents, random: Random) -> list[str]:
    forms, out = _forms_by_language("cot"), []
    for language, prompts in contents:
        for p in prompts:
            lang = language if language in forms and random.random() < 0.85 else "en"
            out.append(_laid_out(random.choice(forms[lang]), lang, random).replace("{}", p))
    random.shuffle(out)
    return out


def _grader(
    contents: Contents, attacks: list[Source], benign: list[Source], random: Random
) -> list[str]:
    """Judgements of replies: real ones, and texts of other sources in their place."""
    forms, out = _forms_by_language("grading"), []
    texts: dict[str, list[str]] = {}
    for each in benign:
        if not each.is_chat and each.side == "benign":
            texts.setdefault(each.language, []).extend(_sample(random, each.prompts, 200))
    for language, prompts in contents:
        lang = language if language in forms else "en"
        replies = texts.get(language) or texts["en"]
        for task in prompts[:350]:
            a, b = (random.choice(replies)[: random.randint(80, 1500)] for _ in range(2))
            form = _laid_out(random.choice(forms[lang]), lang, random)
            out.append(form.format(task[:2000], a, b)[:_LIMIT])
    for each in attacks:
        for task, *replies in each.pairs:
            form = _laid_out(random.choice(forms["en"]), "en", random)
            out.append(form.format(task, replies[0], replies[-1])[:_LIMIT])
    random.shuffle(out)
    return out


def tool_calls(requests: list[str], random: Random) -> list[str]:
    """Requests for calls to made-up functions, in many notations and wordings."""
    words = load("tools")
    verbs, objects = words["verbs"].split(), words["objects"].split()
    parameters = words["parameters"].split()
    short = [p for p in requests if len(p) < 300]
    out = []
    for _ in range(3000):
        lang = random.choice(["frames"] * 8 + ["zh", "de", "es"])
        names = [f"{random.choice(verbs)}_{random.choice(objects)}" for _ in range(4)]
        listed = [_function(name, parameters, random) for name in names[: random.randint(1, 4)]]
        form = _laid_out(random.choice(words[lang]), lang, random)
        functions = random.choice(("\n", "\n\n", "; ")).join(listed)
        out.append(
            form.replace("{functions}", functions).replace("{request}", random.choice(short))
        )
    return out


def _function(name: str, parameters: list[str], random: Random) -> str:
    """The description of a made-up function in one of the usual notations."""
    own = random.sample(parameters, random.randint(1, 3))
    what = name.replace("_", " ")
    camel = what.title().replace(" ", "")
    return random.choice(
        (
            f'{{"name": "{name}", "description": "{what}", "parameters": {{'
            + ", ".join(f'"{p}": {{"type": "string"}}' for p in own)
            + "}}",
            f"{name}({', '.join(own)}): {what}.",
            f"- {camel}: use it to {what}. Input: {', '.join(own)}",
            f'def {name}({", ".join(f"{p}: str" for p in own)}) -> dict:\n    """{what}."""',
            f"POST /{name.replace('_', '/')} body: {own}. {what.capitalize()}.",
            f"Name: {camel}\nDescription: {what} by {own[0]}\nParameters: {'; '.join(own)}",
        )
    )


def _together(by_name: dict[str, Source], names: Sequence[str], random: Random) -> list[str]:
    """Equal shares of some sources, as far as they go."""
    known = [by_name[name].prompts for name in names if name in by_name]
    return [p for prompts in known for p in _sample(random, prompts, 2000)]
