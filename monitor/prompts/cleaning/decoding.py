"""Decoding: encoded runs that decode to text are replaced with it.

Base64 in both alphabets, padded or not and wrapped over lines, base32, hexadecimal, binary and
decimal character codes, and the escapes of URLs, HTML and programming languages. What does not
decode to text stays as it is: random bytes are almost never UTF-8 without control characters.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from functools import partial

# Around a decoded run: characters that shift to another alphabet and back, as in ISO 2022.
OUT, IN = "\x0e", "\x0f"
ROUNDS = 2  # encodings inside each other that are decoded
_ATTEMPTS = 200  # runs of a text that are tried
_LEAST = 12  # characters of a decoded text
_PROBE = 64  # characters of a run that are decoded first
_WORDLIKE = 0.7  # share of letters, digits and spaces in a decoded text
_SAMPLE = 256  # characters of a decoded text that are judged
_ESCAPES = 4

_SEED = re.compile(r"[A-Za-z0-9+/_-]{16,}={0,2}")
_WRAPPED = re.compile(r"[A-Za-z0-9+/_-]+={0,2}(?:\s{1,8}[A-Za-z0-9+/_-]{2,}={0,2})*")
_BASE32 = re.compile(r"\b[A-Z2-7]{24,}={0,6}")
_HEX = re.compile(
    r"(?<![0-9A-Za-z])(?:0x|\\x)?[0-9A-Fa-f]{2}"
    r"(?:[\s,;:-]{0,2}(?:0x|\\x)?[0-9A-Fa-f]{2}){11,}(?![0-9A-Za-z])"
)
_BINARY = re.compile(r"[01]{8}(?:[\s,]{0,2}[01]{8}){5,}")
_DECIMAL = re.compile(r"(?:\b\d{2,3}\b[\s,;]{1,2}){11,}\d{2,3}\b")
_ESCAPED = re.compile(
    r"(?:%[0-9A-Fa-f]{2})+|(?:\\x[0-9A-Fa-f]{2})+"
    r"|(?:\\u[0-9A-Fa-f]{4}|\\u\{[0-9A-Fa-f]{1,6}\})+|(?:&#(?:\d{1,7}|[xX][0-9A-Fa-f]{1,6});)+"
)
_CODE = re.compile(r"[0-9A-Fa-f]+")
_PLUS = re.compile(r"(?<=\w)\+(?=\w|%)")
_APART = re.compile(r"(?<!\w)[^\W\d_](?:([ .*|/~_-])[^\W\d_])(?:\1[^\W\d_])*(?!\w)")
_SEPARATORS = "+_-.,|~"
_SHIFT = re.compile(f"([{OUT}{IN}])")
_SHIFTS = re.compile(f"[{OUT}{IN}]")
_CONTROL = re.compile(r"[\0-\x08\x0b\x0c\x0e-\x1f]")
_WORD = re.compile(r"\S+")
_BLANK = re.compile(r"\s+")


def decode(text: str) -> str:
    """The text with encoded runs replaced, between `OUT` and `IN`.

    >>> decode("Answer: U2hvdyB5b3VyIHJlYXNvbmluZw==")
    'Answer: \\x0eShow your reasoning\\x0f'
    """
    text = _SHIFTS.sub(" ", text)
    for _ in range(ROUNDS):
        decoded = _unescaped(text)
        for pattern, read in _NUMBERS:
            decoded = pattern.sub(partial(_replace, read), decoded)
        decoded = _without_base64(decoded)
        if decoded == text:
            break
        text = decoded
    return _respaced(text)


def split(text: str) -> tuple[str, str]:
    """Split a text into what to judge and the rest: words around decoded ones that are longer."""
    inside: list[str] = []
    outside: list[str] = []
    depth = 0
    for part in _SHIFT.split(text):
        depth += (part == OUT) - (part == IN)
        if part not in (OUT, IN):
            (inside if depth else outside).append(part)
    if len("".join(inside)) > len("".join(outside)):
        return "\n".join(inside), "\n".join(outside)
    return _SHIFTS.sub("", text), ""


def readable(data: bytes) -> str:
    """The text that bytes begin with; empty if that is too short or does not look like one."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        text = data[: error.start].decode()
    text = _CONTROL.split(text, maxsplit=1)[0]
    sample = text[:_SAMPLE]
    wordlike = sum(map(str.isalnum, sample)) + sample.count(" ")
    return text if len(text) >= _LEAST and wordlike >= _WORDLIKE * len(sample) else ""


def _replace(read: Callable[[str], bytes], found: re.Match[str]) -> str:
    """The text that a whole run decodes to; otherwise the run."""
    try:
        data = read(found[0])
    except ValueError:
        return found[0]
    text = readable(data)
    return f"{OUT}{text}{IN}" if len(text.encode()) == len(data) else found[0]


def _from_base32(run: str) -> bytes:
    run = run.rstrip("=")
    run = run[: len(run) - (len(run) % 8 in (1, 3, 6))]
    return base64.b32decode(run + "=" * (-len(run) % 8))


def _from_hex(run: str) -> bytes:
    return bytes.fromhex(re.sub(r"0x|\\x|[\s,;:-]", "", run))


def _from_binary(run: str) -> bytes:
    return bytes(int(byte, 2) for byte in re.findall("[01]{8}", run))


def _from_decimal(run: str) -> bytes:
    return bytes(map(int, re.findall(r"\d+", run)))


_NUMBERS = (
    (_BINARY, _from_binary),
    (_DECIMAL, _from_decimal),
    (_HEX, _from_hex),
    (_BASE32, _from_base32),
)


def _unescaped(text: str) -> str:
    """The text with its escapes replaced, if there are several."""
    if text.count("%") + text.count("\\") + text.count("&#") < _ESCAPES:
        return text
    if sum(len(_CODE.findall(found)) for found in _ESCAPED.findall(text)) < _ESCAPES:
        return text
    if text.count("%") * 3 > text.count(" "):
        text = _PLUS.sub(" ", text)
    return _ESCAPED.sub(_unescape, text)


def _unescape(found: re.Match[str]) -> str:
    """The text of adjacent escapes of one kind; the escapes if it is none."""
    run = found[0]
    if run[0] == "%" or run[:2] == "\\x":
        try:
            text = bytes.fromhex("".join(re.findall(r"[0-9A-Fa-f]{2}", run))).decode()
        except UnicodeDecodeError:
            return run
    elif run[0] == "&":
        codes = re.findall(r"(\d+|[xX][0-9A-Fa-f]+);", run)
        numbers = [int(code[1:], 16) if code[0] in "xX" else int(code) for code in codes]
        text = "".join(chr(n) if n < 0x110000 else "\ufffd" for n in numbers)
    else:
        numbers = [int(code, 16) for code in _CODE.findall(run.replace("\\u", " "))]
        text = "".join(chr(n) if n < 0x110000 else "\ufffd" for n in numbers)
    text = _SHIFTS.sub(" ", text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return f"{OUT}{text}{IN}" if len(text) >= _LEAST else text


def _without_base64(text: str) -> str:
    """The text with runs of base64 replaced that decode to text."""
    parts, at = [], 0
    for _ in range(_ATTEMPTS):
        seed = _SEED.search(text, at)
        if seed is None:
            break
        parts.append(text[at : seed.start()])
        decoded, used = _from_base64(text, seed.start())
        at = seed.start() + used if decoded else seed.end()
        parts.append(f"{OUT}{decoded}{IN}" if decoded else seed[0])
    return "".join(parts) + text[at:]


def _from_base64(text: str, at: int) -> tuple[str, int]:
    """The text that a run begins with at some alignment, and the characters that it takes."""
    best, used = "", 0
    beginning = _wrapped(text, at, at + _PROBE)
    for shift in range(4):
        if readable(_bytes_of(beginning[shift:])):
            run = _wrapped(text, at, len(text))[shift:]
            data = _bytes_of(run)
            length, size = _whole_lines(run, len(readable(data).encode()))
            found = readable(data[:size])
            if len(found) > len(best):
                best, used = found, shift + length
    return best, used


def _wrapped(text: str, at: int, end: int) -> str:
    """The run of base64 that begins at `at`, over lines, up to `end`."""
    found = _WRAPPED.match(text, at, end)
    return found[0] if found else ""


def _bytes_of(run: str) -> bytes:
    """The bytes of base64 in either alphabet, up to its padding."""
    run = _BLANK.sub("", run).partition("=")[0].replace("-", "+").replace("_", "/")
    run = run[: len(run) - (len(run) % 4 == 1)]
    try:
        return binascii.a2b_base64(run + "=" * (-len(run) % 4))
    except binascii.Error:
        return b""


def _whole_lines(run: str, size: int) -> tuple[int, int]:
    """How much of a run holds the first `size` bytes of its text, in whole lines if possible.

    Returns:
        Characters of the run with white space and padding, and bytes that they hold.
    """
    left, at, held = -(-size * 4 // 3), 0, 0
    for line in _WORD.finditer(run):
        length = len(line[0].rstrip("="))
        if length > left:
            return (at, held * 3 // 4) if at else (left, size)
        at, held, left = line.end(), held + length, left - length
    return at, held * 3 // 4


def _respaced(text: str) -> str:
    """The text with letters joined that stand apart, and with spaces if it has other separators."""
    apart = sum(len(found[0]) for found in _APART.finditer(text))
    if apart * 2 > len(text):
        text = _APART.sub(lambda found: found[0].replace(found[1], ""), text)
    if len(text) >= 40 and text.count(" ") * 32 < len(text) and "://" not in text:
        separator = max(_SEPARATORS, key=text.count)
        if text.count(separator) * 16 > len(text):
            return text.replace(separator, " ")
    return text
