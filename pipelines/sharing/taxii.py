"""A TAXII 2.1 collection: push objects to it, and poll what others have added.

The client library has no bounds of its own, so its HTTP session gets an adapter that bounds the
time and the size of each answer. Redirects are not followed: they would carry the login elsewhere.
"""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any, NamedTuple, Self
from urllib.parse import urljoin, urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase, HTTPBasicAuth
from taxii2client.common import _HTTPConnection
from taxii2client.exceptions import AccessError, TAXIIServiceException
from taxii2client.v21 import ApiRoot, Collection

from monitor.config import secret
from monitor.config.sharing import Sharing
from monitor.errors import ConfigError, MonitorError
from pipelines.sharing.formats.received import MOST_BYTES, name_of, objects_in

_PAGE = 1000  # objects per request
_PUSH = 250  # objects per request
_PUSH_BYTES = 1_000_000
_MOST_PAGES = 1000
_OVERLAP = timedelta(minutes=1)  # objects that were being added during the last poll
_ADDED = "X-TAXII-Date-Added-Last"
_CHUNK = 1 << 16
_MOST_SECONDS = 10  # timeouts that a whole answer may take


class PartnerError(MonitorError):
    """A partner's server is away, refuses or answers what cannot be read."""


class Page(NamedTuple):
    """A page of a poll.

    Attributes:
        position: for the next poll, if this is the last page of this one; otherwise empty.
    """

    objects: list[Any]
    position: str


class Taxii:
    """A collection on a TAXII 2.1 server. Use as a context manager.

    Raises:
        ConfigError: if the settings name no collection, or a file that cannot be read.
    """

    def __init__(self, settings: Sharing) -> None:
        if not settings.taxii_url:
            raise ConfigError(
                "No TAXII collection: set XM_SHARING__TAXII_URL to "
                "https://HOST/ROOT/collections/ID/."
            )
        self.url = settings.taxii_url.rstrip("/") + "/"
        self.host = urlsplit(self.url).netloc
        self._adapter = BoundedAdapter(settings.timeout_seconds, _ca(settings))
        connection = _HTTPConnection(
            auth=_auth(settings), cert=_certificate(settings), version="2.1"
        )
        connection.session.max_redirects = 0
        for scheme in ("https://", "http://"):
            connection.session.mount(scheme, self._adapter)
        self._connection = connection
        self._collection = Collection(self.url, conn=connection)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._collection.close()

    def push(self, objects: Sequence[dict[str, Any]]) -> int:
        """Add objects. Those that the collection already has in the same version stay as they are.

        Returns:
            how many were new.

        Raises:
            PartnerError: if one was not accepted, or the server is away. Push the same again.
        """
        new = 0
        with self._errors():
            most = min(_PUSH_BYTES, self._most_bytes())
            for part in _parts(objects, most):
                status = self._collection.add_objects(
                    {"objects": part}, timeout=self._adapter.seconds
                )
                if status.status != "complete":
                    raise PartnerError(
                        f"{self.host} has not added {len(part)} objects in time: push again."
                    )
                new += status.success_count
                for failure in status.failures:
                    self._check_failure(failure)
        return new

    def poll(self, position: str) -> Iterator[Page]:
        """What has been added since a position, the oldest first.

        Args:
            position: of the last poll; empty for everything.

        Raises:
            PartnerError: if the server is away or answers what cannot be read.
        """
        filters: dict[str, Any] = {"limit": _PAGE}
        if position:
            filters["added_after"] = _earlier(position)
        last = position
        for _ in range(_MOST_PAGES):
            with self._errors():
                envelope = self._collection.get_objects(**filters)
            if not isinstance(envelope, dict):
                raise PartnerError(f"{self.host} answers something else than an envelope of TAXII.")
            last = max(last, self._adapter.headers.get(_ADDED, ""))
            more, following = envelope.get("more", False), envelope.get("next", "")
            objects = objects_in(envelope.get("objects", []), f"The answer of {self.host}")
            yield Page(objects, "" if more else last)
            if not more:
                return
            if not isinstance(following, str) or not following or not objects:
                break
            filters["next"] = following
        raise PartnerError(
            f"{self.host} does not come to the end of the collection after {_MOST_PAGES:,} pages "
            "or an empty one. What was read is imported; the next poll begins where this one began."
        )

    def _most_bytes(self) -> int:
        """The size of a request that the server accepts."""
        root = ApiRoot(urljoin(self.url, "../../"), conn=self._connection)
        root.refresh_information()
        return int(root.max_content_length)

    def _check_failure(self, failure: dict[str, Any]) -> None:
        """Accept that an object is not new; some servers call that a failure."""
        id, version = str(failure.get("id", "")), str(failure.get("version", ""))
        found = self._collection.get_object(id, version=version) if id and version else {}
        if not (isinstance(found, dict) and found.get("objects")):
            why = name_of(str(failure.get("message", "")))
            raise PartnerError(f"{self.host} did not accept {name_of(id)}: {why or 'no reason'}.")

    @contextmanager
    def _errors(self) -> Iterator[None]:
        """Errors of the client as one that says what to do."""
        try:
            yield
        except requests.HTTPError as error:
            raise PartnerError(f"{self.host} {_answer(error)}") from None
        except requests.exceptions.SSLError:
            raise PartnerError(
                f"The certificate of {self.host} is not valid for it: set "
                "XM_SHARING__TAXII_CA_FILE to the CA of the server."
            ) from None
        except requests.TooManyRedirects:
            raise PartnerError(
                f"{self.host} redirects elsewhere: set XM_SHARING__TAXII_URL to where it leads."
            ) from None
        except AccessError:
            raise PartnerError(
                f"The collection at {self.host} does not allow this login to read or to write."
            ) from None
        except (requests.RequestException, TimeoutError) as error:
            raise PartnerError(
                f"{self.host} cannot be reached ({type(error).__name__}): try again later."
            ) from None
        except (TAXIIServiceException, ValueError, TypeError, KeyError, AttributeError) as error:
            text = name_of(" ".join(str(error).split()))
            raise PartnerError(
                f"{self.host} does not answer as TAXII 2.1 does ({text}): "
                "check XM_SHARING__TAXII_URL."
            ) from None


class BoundedAdapter(HTTPAdapter):  # type: ignore[misc]
    """Bounds the time to wait for an answer, and its size.

    Args:
        seconds: to wait for a connection, and for each part of an answer.
        ca: file of certificates; `True`: the system's. The session's own setting would give way to
            REQUESTS_CA_BUNDLE.

    Attributes:
        headers: of the last answer.
    """

    def __init__(self, seconds: float, ca: bool | str) -> None:
        super().__init__()
        self.seconds = seconds
        self._ca = ca
        self.headers: Any = {}

    def send(self, request: Any, **options: Any) -> Any:
        options |= {"timeout": self.seconds, "stream": True}
        if self._ca is not True:
            options["verify"] = self._ca
        response = super().send(request, **options)
        body, end = bytearray(), time.monotonic() + _MOST_SECONDS * self.seconds
        for part in response.iter_content(_CHUNK):
            body += part
            if time.monotonic() > end:
                response.close()
                raise TimeoutError
            if len(body) > MOST_BYTES:
                response.close()
                raise ValueError(f"an answer of more than {MOST_BYTES:,} bytes")
        response._content = bytes(body)
        self.headers = response.headers
        return response


class _Bearer(AuthBase):  # type: ignore[misc]
    """A bearer token (RFC 6750)."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _auth(settings: Sharing) -> AuthBase | None:
    token = secret(None, settings.taxii_token_file, "XM_SHARING__TAXII_TOKEN")
    if token is not None:
        return _Bearer(token.decode())
    password = secret(None, settings.taxii_password_file, "XM_SHARING__TAXII_PASSWORD")
    if settings.taxii_user and password is not None:
        return HTTPBasicAuth(settings.taxii_user.encode(), password)
    return None


def _ca(settings: Sharing) -> bool | str:
    file = settings.taxii_ca_file
    if file is None:
        return True
    try:
        ssl.create_default_context(cafile=str(file))
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"XM_SHARING__TAXII_CA_FILE names {file}, which has no certificates that can be read "
            f"({error.strerror or 'no PEM'})."
        ) from error
    return str(file)


def _certificate(settings: Sharing) -> str | tuple[str, str] | None:
    certificate, key = settings.taxii_cert_file, settings.taxii_key_file
    for file in filter(None, (certificate, key)):
        if not file.is_file():
            raise ConfigError(f"{file}, which XM_SHARING__TAXII_… names, is not a file.")
    if certificate is None:
        return None
    return str(certificate) if key is None else (str(certificate), str(key))


def _parts(objects: Sequence[dict[str, Any]], most: int) -> Iterator[list[dict[str, Any]]]:
    """Objects in parts that the server accepts, in their order."""
    part: list[dict[str, Any]] = []
    size = 0
    for each in objects:
        length = len(json.dumps(each)) + 16
        if part and (len(part) >= _PUSH or size + length > most - 64):
            yield part
            part, size = [], 0
        part.append(each)
        size += length
    if part:
        yield part


def _earlier(position: str) -> str:
    """A time a little before a position."""
    at = datetime.fromisoformat(position)
    return (at - _OVERLAP).isoformat().replace("+00:00", "Z")


def _answer(error: requests.HTTPError) -> str:
    """What a server's refusal means."""
    status = error.response.status_code if error.response is not None else 0
    match status:
        case 401 | 403:
            return (
                f"refuses the login or the permission ({status}): check XM_SHARING__TAXII_USER and "
                "its password, or the token, and what they may do in the collection."
            )
        case 404:
            return "does not know the collection (404): check XM_SHARING__TAXII_URL."
        case 413:
            return "refuses objects of this size (413): export fewer indicators."
        case _:
            return f"answers {status}: try again later."
