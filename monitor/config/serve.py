"""Settings of the web services: the decision service and the console."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Serve(BaseModel):
    """The decision service (`xm serve`): where it listens, and who may ask."""

    model_config = ConfigDict(extra="forbid")

    host: str = Field("127.0.0.1", description="address of `xm serve`")
    port: int = Field(6067, ge=1, le=65535, description="its port")
    grpc_port: int | None = Field(
        None, ge=1, le=65535, description="port of Envoy's gRPC `ext_authz`; none: off"
    )
    tls_cert_file: Path | None = Field(None, description="certificate chain, PEM; none: plain HTTP")
    tls_key_file: Path | None = Field(None, description="its key, if it is in a file of its own")
    tls_client_ca_file: Path | None = Field(
        None,
        description="CA of clients, PEM; with it, only clients with its certificates may "
        "connect (mTLS)",
    )
    tokens_file: Path | None = Field(
        None,
        description="file of [tokens](gateways.md#tokens); none: nothing can be changed over HTTP",
    )
    lookups: Literal["open", "token"] = Field(
        "open", description="`open`: look-ups need no token; `token`: they need one"
    )
    lookups_per_second: float = Field(
        50_000, ge=1, description="look-ups of one client address per second"
    )
    changes_per_minute: float = Field(60, ge=1, description="changes with one token per minute")


class Console(BaseModel):
    """The console (`xm console`): where it listens, and who may sign on."""

    model_config = ConfigDict(extra="forbid")

    host: str = Field("127.0.0.1", description="address of `xm console`")
    port: int = Field(6069, ge=1, le=65535, description="its port")
    url: str | None = Field(
        None,
        pattern=r"^https?://[^/\s?#@]+/?$",
        description="its public URL, such as `https://console.example`, for links in alerts; "
        "required behind a proxy that ends TLS, so that cookies are sent over TLS only",
    )
    view_file: Path = Field(
        Path("extraction-monitor-console.sqlite"),
        description="file with what the pages show, made from Redis and the topics; it may be "
        "deleted while the console is stopped",
    )
    price: float = Field(
        0.0, ge=0, description="price of a million tokens, to show what requests cost; 0: unknown"
    )
    prices: dict[str, float] = Field(
        {}, description='the same by model, as JSON: `{"model-a": 3.5}`'
    )
    currency: str = Field("$", min_length=1, max_length=4, description="sign of their currency")
    history_days: float = Field(
        90, gt=0, description="days for which ended alerts, decisions and the audit are shown"
    )
    tls_cert_file: Path | None = Field(None, description="certificate chain, PEM; none: plain HTTP")
    tls_key_file: Path | None = Field(None, description="its key, if it is in a file of its own")
    tls_client_ca_file: Path | None = Field(
        None,
        description="CA of clients, PEM; with it, only clients with its certificates may "
        "connect (mTLS)",
    )
    hosts: list[str] = Field(
        [],
        description="further host names that requests may name, besides that of `url`, "
        "`localhost` and addresses",
    )
    users_file: Path | None = Field(
        None, description="file of people, their roles and the hashes of their tokens"
    )
    proxy_addresses: list[str] = Field(
        [],
        description="addresses or networks of the reverse proxy that signs people on; none: its "
        "headers are ignored",
    )
    proxy_header: str = Field(
        "X-Forwarded-Email",
        description="header in which the proxy names the person, or `X-Auth-Request-Email`",
    )
    proxy_roles_header: str | None = Field(
        None, description="header with the person's groups, such as `X-Forwarded-Groups`"
    )
    proxy_roles: dict[str, Literal["viewer", "analyst", "admin"]] = Field(
        {}, description="role of each group, for those who are not in `users_file`"
    )
    proxy_sign_out: str | None = Field(
        None,
        pattern=r"^/([\w.-][\w./?=&%:-]*)?$",
        description="path at which the proxy signs people out, such as `/oauth2/sign_out`",
    )
    requests_per_second: float = Field(
        20,
        ge=1,
        description="requests of one person per second; a client address may send 5 times as many",
    )
    second_person_above: int = Field(
        20,
        ge=0,
        description="keys, accounts and end users that one person may block in an hour; beyond "
        "it, another person must approve",
    )
