"""Raw names: from an API key, an account, a payment or an address to its pseudonym.

A name is hashed here and goes nowhere else: no error and no log repeats it.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Literal

from monitor.config import Settings
from monitor.errors import InputError
from monitor.identity import from_settings
from monitor.requests.mappings import FieldMapping
from monitor.requests.ties import Ties
from monitor.store.redis import RedisStore
from pipelines.gateways.keys import key_forms

RawType = Literal["key", "account", "payment", "network"]


def pseudonym_of(kind: RawType, name: str, store: RedisStore, settings: Settings) -> str:
    """The pseudonym of a raw name.

    Args:
        kind: what the name is the name of; a network is named by one of its addresses.

    Raises:
        ConfigError: if there is no identity secret.
        InputError: if the name cannot be of this kind.
    """
    if not name:
        raise InputError(f"No {kind} was entered.")
    if kind == "key":
        return _key(name, store, settings)
    identity = from_settings(settings)
    if kind == "account":
        return identity.account(name)
    if kind == "payment":
        return Ties(identity).payment(name)
    try:
        ip_address(name)
    except ValueError:
        raise InputError("This is not an IP address: enter one of the network.") from None
    return Ties(identity).network(name)


def _key(key: str, store: RedisStore, settings: Settings) -> str:
    """The pseudonym of an API key in the form in which the log holds it: as it is, or hashed.

    That is the form that Redis knows. If it knows none, the key as it is.
    """
    identity = from_settings(settings)
    forms = [identity.key(form) for form in key_forms(key, FieldMapping(settings.mapping))]
    decided, partitions = store.in_force(forms), sorted(store.baselines())
    for form, decisions in zip(forms, decided, strict=True):
        if decisions or any(store.load(store.names(name, [form]))[0] for name in partitions):
            return form
    return forms[0]
