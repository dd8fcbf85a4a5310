"""Which API keys of a recording count as ordinary because a person overturned the decision."""

from __future__ import annotations

from collections.abc import Container

from monitor.alerting.enforcement import CAMPAIGN, Control
from monitor.config import Settings
from monitor.identity import Identity, from_settings
from monitor.store.control import ControlStore


class OverturnedKeys(Container[str]):
    """API keys whose alerts, or the alerts of whose campaigns, a person withdrew.

    Args:
        control: what people have set.
        identity: of the deployment, for the pseudonyms of keys.
    """

    def __init__(self, control: Control, identity: Identity) -> None:
        self._identity = identity
        self._pseudonyms = set[str]()
        for each in control.withdrawn.values():
            if each.kind == CAMPAIGN and not each.for_one:
                self._pseudonyms |= set(each.members)
            else:
                self._pseudonyms.add(each.subject)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._identity.key(key) in self._pseudonyms


def overturned_keys(settings: Settings) -> OverturnedKeys:
    """The keys, as Redis has them.

    Raises:
        ConfigError: if there is no identity secret.
        StoreError: if Redis does not answer.
    """
    return OverturnedKeys(ControlStore(settings.redis_url).read(), from_settings(settings))
