import asyncio
import time

import pytest
from starlette.datastructures import Headers, MutableHeaders

from monitor.config import Console
from monitor.errors import ConfigError
from pipelines.console.access import csrf
from pipelines.console.access.headers import add_headers
from pipelines.console.access.proxy import Proxy
from pipelines.console.access.rates import SignOnRates, TooManyError

EMAIL, GROUPS = "X-Forwarded-Email", "X-Forwarded-Groups"
ROLES = {"abuse": "analyst", "heads": "admin", "sre": "viewer"}


@pytest.fixture
def proxy():
    return Proxy(
        Console(
            proxy_addresses=["10.0.0.0/24", "::1"], proxy_roles_header=GROUPS, proxy_roles=ROLES
        )
    )


def headers(*pairs):
    return Headers(raw=[(name.lower().encode(), value.encode()) for name, value in pairs])


def test_proxy_names_the_viewer_only_from_its_own_address(proxy):
    given = headers((EMAIL, "alice@example.com"), (GROUPS, "heads"))
    for peer in ("10.0.0.5", "::1", "::ffff:10.0.0.5"):
        assert proxy.person(peer, given) == ("alice@example.com", "admin")
    for peer in ("10.0.1.5", "192.0.2.1", "", "10.0.0.5.example.com", "::2"):
        assert proxy.person(peer, given) is None


def test_proxy_gives_the_highest_role_of_the_groups(proxy):
    for groups, role in (("sre, abuse", "analyst"), ("heads,sre", "admin"), ("Abuse", None)):
        person = proxy.person("::1", headers((EMAIL, "bob"), (GROUPS, groups)))
        assert person == ("bob", role)


@pytest.mark.parametrize(
    "pairs",
    [
        [(EMAIL, "alice@example.com"), (EMAIL, "bob")],
        [(EMAIL, "alice@example.com,bob")],
        [(EMAIL, "")],
        [(EMAIL, "<script>")],
        [("X_Forwarded_Email", "alice@example.com")],
    ],
)
def test_ambiguous_header_of_the_proxy_names_nobody(proxy, pairs):
    assert proxy.person("::1", headers(*pairs)) is None


def test_ambiguous_groups_give_no_role(proxy):
    given = headers((EMAIL, "bob"), (GROUPS, "sre"), (GROUPS, "heads"))
    assert proxy.person("::1", given) == ("bob", None)


def test_client_address_comes_from_the_proxy_only(proxy):
    forwarded = headers(("X-Forwarded-For", "1.1.1.1, 192.0.2.7, 10.0.0.9"))
    assert proxy.client("10.0.0.5", forwarded) == "192.0.2.7"
    assert proxy.client("192.0.2.1", forwarded) == "192.0.2.1"
    assert proxy.client("10.0.0.5", headers(("X-Forwarded-For", "x" * 99))) == "10.0.0.5"


@pytest.mark.parametrize("address", ["proxy.example.com", "10.0.0.5/24", "0.0.0.0/0", "::/0"])
def test_address_of_the_proxy_must_be_one(address):
    with pytest.raises(ConfigError, match="PROXY_ADDRESSES"):
        Proxy(Console(proxy_addresses=[address]))


def test_csrf_token_belongs_to_one_session():
    token = csrf.token_of("one")
    assert csrf.is_same(token, token)
    assert not csrf.is_same(token, csrf.token_of("two"))
    assert not csrf.is_same(token, "\ud800")


async def test_attempts_to_sign_on_are_limited_per_address_and_ipv6_network():
    now = 0.0
    rates = SignOnRates(lambda: now)
    for _ in range(10):
        await rates.check("2001:db8::1", bool)
    with pytest.raises(TooManyError) as refused:
        await rates.check("2001:db8::2", bool)
    assert refused.value.seconds == 5
    await rates.check("2001:db8:0:1::1", bool)
    now = 5.0
    await rates.check("2001:db8::2", bool)


async def test_one_token_is_checked_at_a_time():
    rates, running, most = SignOnRates(lambda: 0.0), 0, 0

    def check():
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.001)
        running -= 1

    calls = [rates.check(f"192.0.2.{i}", check) for i in range(20)]
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert most == 1
    assert sum(isinstance(each, TooManyError) for each in results) == 4


def test_headers_forbid_inline_code_frames_and_caches():
    made = MutableHeaders({"cache-control": "public", "content-security-policy": "*"})
    add_headers(made, tls=True)
    policy = made["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert made["cache-control"] == "no-store"
    assert made["strict-transport-security"]
