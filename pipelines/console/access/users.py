"""Users of the console: a file of names, roles, tenants and tokens.

A line has a name, a role, the tenants or `*` for all, and the argon2id hash of a token, or
`proxy` for one who signs on through a reverse proxy only. `#` begins a comment. `xm console user
NAME` makes a token and its line.

    alice@example.com  analyst  *            $argon2id$v=19$m=19456,t=2,p=1$…
    bob                viewer   acme/,beta/  proxy

The file is read again when it changes. A file that cannot be read then is reported, and the users
stay as they were.
"""

from __future__ import annotations

import hashlib
import logging
import re
import secrets
from pathlib import Path
from typing import NamedTuple, cast, get_args

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError

from monitor.errors import ConfigError
from pipelines.console.access.viewer import Role, Viewer
from pipelines.web.watched import Watched

log = logging.getLogger(__name__)

PROXY = "proxy"  # instead of a hash
NAME = re.compile(r"[\w.@+-]{1,64}", re.ASCII)
_TENANTS = re.compile(r"\*|[^\s#,*]{1,64}(?:,[^\s#,*]{1,64})*")
_TOKEN = re.compile(r"xm_[\w-]{43}", re.ASCII)
_MOST_MEMORY, _MOST_PASSES = 65_536, 8  # KiB and passes of a hash that is accepted
_REMEDY = "write a name, a role, tenants or *, and a hash, as `xm console user NAME` prints them"

# 19 MiB and two passes: OWASP's recommendation, about 25 ms. A token has 256 random bits, so the
# cost does not protect it; it is kept low because each attempt to sign on pays it.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1)
_NOBODY = f"$argon2id$v=19$m=19456,t=2,p=1${'A' * 22}${'A' * 43}"  # of no token


class User(NamedTuple):
    """A known user.

    Attributes:
        viewer: name and rights.
        hashed: argon2id hash of the token; empty without one.
    """

    viewer: Viewer
    hashed: str

    @property
    def proof(self) -> str:
        """Changes with the token: sessions of an older token end."""
        return hashlib.sha256(self.hashed.encode()).hexdigest()[:16]


class Users:
    """The users of a file.

    Args:
        file: default: no users.

    Raises:
        ConfigError: if the file cannot be read.
    """

    def __init__(self, file: Path | None) -> None:
        self._file = file
        self._known = {} if file is None else _read(file)
        self._watched = None if file is None else Watched(file)

    def find(self, name: str) -> User | None:
        """A user by name."""
        return self._known.get(name)

    def has_tokens(self) -> bool:
        """Whether anyone can sign on with a token."""
        return any(user.hashed for user in self._known.values())

    def verify(self, name: str, token: str) -> User | None:
        """The user with this name and token; `None` if there is none.

        It takes the same time for a wrong token and for an unknown name. A text that no token can
        be is refused at once, so that it costs nothing.
        """
        if not _TOKEN.fullmatch(token):
            return None
        user = self._known.get(name)
        hashed = user.hashed if user is not None else ""
        try:
            _HASHER.verify(hashed or _NOBODY, token)
        except (VerificationError, InvalidHashError):
            return None
        return user if hashed else None

    def refresh(self) -> None:
        """Read the file again if it has changed."""
        if self._file is None or self._watched is None:
            return
        try:
            if self._watched.changed():
                self._known = _read(self._file)
                log.info("users_read count=%d", len(self._known))
        except (ConfigError, OSError) as error:
            log.error("users_not_read reason=%r", str(error))


def new_user(
    name: str, role: Role, tenants: tuple[str, ...] = (), *, token: bool = True
) -> tuple[str, str]:
    """A new token, empty if it is not wanted, and the line for the file.

    Raises:
        ConfigError: if the name or a tenant cannot stand in the file.
    """
    made = f"xm_{secrets.token_urlsafe(32)}" if token else ""
    line = f"{name} {role} {','.join(tenants) or '*'} {_HASHER.hash(made) if made else PROXY}"
    if not NAME.fullmatch(name):
        raise ConfigError("A user's name has letters, digits and . _ @ + -, at most 64.")
    if not all(_TENANTS.fullmatch(each) and each != "*" and "," not in each for each in tenants):
        raise ConfigError(
            "A tenant is a prefix of accounts such as acme/, without spaces, commas, # and *, "
            "at most 64 characters."
        )
    return made, line


def _read(file: Path) -> dict[str, User]:
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8"
        raise ConfigError(f"Users in {file} cannot be read: {reason}.") from error
    known: dict[str, User] = {}
    for number, line in enumerate(lines, 1):
        text = line.partition("#")[0].split()
        if not text:
            continue
        user = _user(text)
        if user is None:
            raise ConfigError(f"Line {number} of {file} is not a user: {_REMEDY}.")
        if user.viewer.name in known:
            raise ConfigError(
                f"Line {number} of {file} repeats the name {user.viewer.name}: remove one."
            )
        known[user.viewer.name] = user
    return known


def _user(words: list[str]) -> User | None:
    if len(words) != 4:
        return None
    name, role, tenants, hashed = words
    if not NAME.fullmatch(name) or role not in get_args(Role) or not _TENANTS.fullmatch(tenants):
        return None
    if hashed != PROXY and not _is_affordable(hashed):
        return None
    scope = () if tenants == "*" else tuple(tenants.split(","))
    viewer = Viewer(name, cast("Role", role), scope)
    return User(viewer, "" if hashed == PROXY else hashed)


def _is_affordable(hashed: str) -> bool:
    """Whether it is an argon2id hash that can be checked at every attempt to sign on."""
    try:
        cost = extract_parameters(hashed)
    except InvalidHashError:
        return False
    return (
        hashed.startswith("$argon2id$")
        and cost.memory_cost <= _MOST_MEMORY
        and cost.time_cost <= _MOST_PASSES
        and cost.parallelism <= _MOST_PASSES
    )
