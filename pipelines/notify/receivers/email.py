"""E-mail: one message per change of an alert, over SMTP.

All messages about a subject are one thread. A message that is sent again has the same Message-ID,
and many servers and programs show it once.
"""

from __future__ import annotations

import asyncio
import logging
import smtplib
import ssl
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, parseaddr
from typing import ClassVar
from urllib.parse import urlsplit

from pipelines.notify import text
from pipelines.notify.incidents.links import NONE, Links
from pipelines.notify.incidents.notice import Notice
from pipelines.notify.receivers.base import AwayError, Endpoint, RefusedError, printable

log = logging.getLogger(__name__)

PORTS = {"smtps": 465, "smtp+starttls": 587, "smtp": 25}


@dataclass(frozen=True, slots=True)
class Email:
    """Sends through the SMTP server of the endpoint; its secret is the password.

    Args:
        sender: the address that the messages are from.
        to: the addresses of the recipients.
        user: of the login; `None`: no login.
    """

    endpoint: Endpoint
    sender: str
    to: tuple[str, ...]
    user: str | None = None
    name: str = "email"
    links: Links = NONE
    batch: ClassVar[int] = 1
    groups: ClassVar[bool] = True
    inhibits: ClassVar[bool] = False
    takes_updates: ClassVar[bool] = False
    refresh_seconds: ClassVar[float] = 0.0

    async def send(self, notices: list[Notice]) -> None:
        for notice in notices:
            await asyncio.to_thread(self._deliver, self.message(notice))

    def message(self, notice: Notice) -> EmailMessage:
        """An incident as a message."""
        alert = notice.alert
        domain = parseaddr(self.sender)[1].rpartition("@")[2] or "localhost"
        thread = f"<{alert.subject.id}@{domain}>"
        message = EmailMessage()
        message["Subject"] = text.title(alert)
        message["From"] = self.sender
        message["To"] = ", ".join(self.to)
        message["Date"] = formatdate()
        message["Message-ID"] = f"<{text.message_id(alert)}@{domain}>"
        message["In-Reply-To"] = message["References"] = thread
        message["Auto-Submitted"] = "auto-generated"
        if alert.severity == "critical" and alert.state != "resolved":
            message["Importance"] = "high"
        parts = [
            alert.summary,
            _lines(text.facts(notice)),
            _lines(text.evidence(alert)),
            text.next_step(alert),
            *(f"{text.LINKS[name]}: {url}" for name, url in self.links.of(alert).items()),
        ]
        message.set_content("\n\n".join(part for part in parts if part) + "\n")
        return message

    def _deliver(self, message: EmailMessage) -> None:
        try:
            server = self.connect()
            try:
                refused = server.send_message(message)
                with suppress(OSError, smtplib.SMTPException):  # it has the message already
                    server.quit()
            finally:
                server.close()
            if refused:
                log.warning("recipients_refused receiver=%s count=%d", self.name, len(refused))
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            self._fail(min(codes), f"no recipient accepted ({min(codes)})", error)
        except smtplib.SMTPResponseException as error:
            answer = error.smtp_error
            words = printable(answer if isinstance(answer, bytes) else answer.encode())[:200]
            self._fail(error.smtp_code, f"answers {error.smtp_code} {words}", error)
        except smtplib.SMTPNotSupportedError as error:
            raise RefusedError(f"{error}; see the url of the route") from error
        except (OSError, smtplib.SMTPException) as error:  # OSError: also no answer, no TLS
            raise AwayError(str(error) or type(error).__name__) from error

    def connect(self) -> smtplib.SMTP:
        url, seconds = urlsplit(self.endpoint.url), self.endpoint.timeout_seconds
        host, port = url.hostname or "", url.port or PORTS[url.scheme]
        tls = self.endpoint.tls or ssl.create_default_context()
        if url.scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(host, port, timeout=seconds, context=tls)
        else:
            server = smtplib.SMTP(host, port, timeout=seconds)
        try:
            if url.scheme == "smtp+starttls":
                server.starttls(context=tls)
            if self.user:
                server.login(self.user, self.endpoint.secret)
        except BaseException:
            server.close()
            raise
        return server

    def _fail(self, code: int, reason: str, error: Exception) -> None:
        """Raise what an SMTP answer means: 4yz may pass, 5yz will not."""
        if 500 <= code < 600:
            raise RefusedError(reason) from error
        raise AwayError(reason) from error


def _lines(facts: Mapping[str, str]) -> str:
    width = max(map(len, facts), default=0) + 2
    return "\n".join(f"{f'{name}:':<{width}}{value}" for name, value in facts.items())
