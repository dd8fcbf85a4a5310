"""The reverse proxy before the console: oauth2-proxy or another names the person in a header.

The header counts only from the addresses of `XM_CONSOLE__PROXY_ADDRESSES`, so the proxy must be the
only one that can reach the console from there, and must replace the header if a client sends it.
From other addresses the headers are ignored, as is a header that comes twice: one of them may be
the client's.
"""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import NamedTuple

from starlette.datastructures import Headers

from monitor import config
from monitor.errors import ConfigError
from pipelines.console.access.users import NAME
from pipelines.console.access.viewer import ROLES, Role

_FORWARDED = "x-forwarded-for"


class Person(NamedTuple):
    """A person, as the proxy names them.

    Attributes:
        role: the highest of the person's groups; `None` if none of them has a role.
    """

    name: str
    role: Role | None


class Proxy:
    """Knows the reverse proxy.

    Args:
        settings: its addresses and headers.

    Raises:
        ConfigError: if an address cannot be used.
    """

    def __init__(self, settings: config.Console) -> None:
        self._header, self._roles_header = settings.proxy_header, settings.proxy_roles_header
        self._roles = settings.proxy_roles
        self._networks = [_network(each) for each in settings.proxy_addresses]

    def is_at(self, peer: str) -> bool:
        """Whether a connection comes from the proxy.

        Args:
            peer: the address at the other end of the connection.
        """
        try:
            address = ip_address(peer)
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return any(address in network for network in self._networks)

    def person(self, peer: str, headers: Headers) -> Person | None:
        """The person that the proxy names; `None` if it names none."""
        name = _only(headers, self._header) if self.is_at(peer) else None
        if name is None or not NAME.fullmatch(name):
            return None
        groups = _only(headers, self._roles_header) if self._roles_header else None
        given = {self._roles.get(each.strip()) for each in (groups or "").split(",")}
        return Person(name, next((role for role in reversed(ROLES) if role in given), None))

    def client(self, peer: str, headers: Headers) -> str:
        """The address of the client, for rate limits: the last one before the proxies."""
        if not self.is_at(peer):
            return peer
        hops = ",".join(headers.getlist(_FORWARDED)).split(",")
        for hop in reversed([each.strip() for each in hops if each.strip()]):
            if not self.is_at(hop):
                return hop if is_address(hop) else peer
        return peer


def is_address(text: str) -> bool:
    """Whether a text is an IP address."""
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _only(headers: Headers, name: str) -> str | None:
    values = headers.getlist(name)
    return values[0] if len(values) == 1 else None


def _network(text: str) -> IPv4Network | IPv6Network:
    try:
        found = ip_network(text)
    except ValueError as error:
        raise ConfigError(
            f"XM_CONSOLE__PROXY_ADDRESSES has {text!r}, which is no address or network ({error}): "
            "write 10.0.0.5 or 10.0.0.0/24."
        ) from error
    if found.prefixlen == 0:
        raise ConfigError(
            f"XM_CONSOLE__PROXY_ADDRESSES has {text}: anyone could sign on as anybody. Write the "
            "address of the proxy alone."
        )
    return found
