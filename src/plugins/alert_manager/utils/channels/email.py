"""Channel `email`: one mail for each alert, by SMTP over verified TLS."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import socket
from base64 import b64encode
from collections.abc import Awaitable, Callable, Sequence
from email.message import EmailMessage
from typing import Any

import aiosmtplib

from ...domain.delivery import Disabled, Message, Outcome, Progress, Retry, Sent
from ...domain.escape import masked_address
from ...domain.formats import Formats
from .common import answer_line, network_reason
from .email_message import MailWriter
from .email_recipients import Refusal, finished, removed, settled, still_to_tell
from .email_settings import EmailSettings

__all__ = ["EmailChannel", "EmailSettings"]

_log = logging.getLogger(__name__)
_GOODBYE = 2.0  # seconds that a server gets to answer QUIT; the mail is already delivered by then
_LOGIN_FAULTS = frozenset({530, 534, 535, 538})  # RFC 4954: our credentials, not this message
_CLOSING = 421  # RFC 5321: the server closes the connection after this answer
_FULL_NAME = re.compile(r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+")
_NO_NAME = "[127.0.0.1]"


class EmailChannel:
    """Sends each alert to all recipients in one mail, over one connection of its own.

    A recipient that the server puts off (4xx) gets the same mail later, without the others.

    Raises:
        ValueError: the settings are of a disabled channel, without a server or addresses.
    """

    max_batch = 1

    def __init__(self, settings: EmailSettings, formats: Formats | None = None) -> None:
        if not (settings.smtp_server and settings.sender and settings.recipient):
            raise ValueError("el canal email necesita smtp_server, sender y recipient")
        self._settings = settings
        self._host, self._sender = settings.smtp_server, settings.sender
        self._server = f"{self._host}:{settings.smtp_port}"
        self._login = settings.username or settings.sender
        self._password = _password(settings)
        self._secrets = _secret_forms(self._login, self._password)
        self._tls = None if settings.tls == "none" else settings.tls_context()
        self._hello = _own_name()
        self._writer = MailWriter(
            self._sender, settings.recipient, settings.subject_prefix, formats or Formats()
        )

    async def send(self, batch: Sequence[Message]) -> Outcome:
        """Sends the mail of the batch's one alert to those who do not have it yet."""
        (message,) = batch
        recipients = still_to_tell(self._settings.recipient, message.progress)
        if not recipients:
            return removed(message.progress)
        mail = self._writer.write(message)
        return await self._talk(
            lambda smtp: self._deliver(smtp, mail, recipients, message.progress)
        )

    async def probe(self) -> Outcome:
        """Connects and logs in as for a mail, and sends none."""

        async def nothing(smtp: aiosmtplib.SMTP) -> Outcome:
            return Sent()

        return await self._talk(nothing)

    async def close(self) -> None:
        """Has nothing to give back: each send closes its connection."""

    async def _talk(self, work: Callable[[aiosmtplib.SMTP], Awaitable[Outcome]]) -> Outcome:
        """Says everything from the greeting to the goodbye; `work` comes after the login."""
        smtp = _Connection(
            hostname=self._host,
            port=self._settings.smtp_port,
            timeout=self._settings.timeout,
            use_tls=self._settings.tls == "implicit",
            start_tls=False,
            tls_context=self._tls,
            local_hostname=self._hello,
        )
        try:
            async with asyncio.timeout(self._settings.timeout):
                outcome = await self._enter(smtp) or await work(smtp)
            await _say_goodbye(smtp)  # outside of the timeout: a delivered mail stays delivered
        except (aiosmtplib.SMTPException, OSError) as error:
            outcome = self._broken(error)
        finally:
            smtp.close()
        return outcome

    async def _enter(self, smtp: aiosmtplib.SMTP) -> Outcome | None:
        """Connects and logs in; returns what hinders it."""
        try:
            fault = await self._open(smtp)
        except aiosmtplib.SMTPResponseException as error:
            # Said before the mail was offered, so it is no verdict on the mail, even as a 5xx.
            return Retry(self._said(error, "no atiende"))
        if fault is None and self._password is not None:
            fault = await self._authenticate(smtp, self._password)
        return fault

    async def _open(self, smtp: aiosmtplib.SMTP) -> Outcome | None:
        """Connects, encrypted as the settings say; returns what hinders it."""
        await smtp.connect()
        await smtp.ehlo()
        if self._settings.tls != "starttls":
            return None
        if not smtp.supports_extension("starttls"):
            return Retry(
                f"{self._server} no ofrece STARTTLS: sin cifrado no se entra ni se envía nada; "
                "revisa el puerto (465 usa tls: implicit) o si alguien interviene la conexión"
            )
        await smtp.starttls()
        await smtp.ehlo()  # what was said before TLS does not count (RFC 3207)
        return None

    async def _authenticate(self, smtp: aiosmtplib.SMTP, password: str) -> Outcome | None:
        if not smtp.supported_auth_methods:
            return Retry(f"{self._server} no ofrece un método de autenticación conocido")
        try:
            await smtp.login(self._login, password)
        except aiosmtplib.SMTPResponseException as error:
            if error.code < 500:
                return Retry(self._said(error, "no atiende la autenticación"))
            return Disabled(
                self._said(
                    error, "no acepta el usuario o la contraseña (revisa notification_config)"
                )
            )
        return None

    async def _deliver(
        self,
        smtp: aiosmtplib.SMTP,
        mail: EmailMessage,
        recipients: Sequence[str],
        before: Progress | None,
    ) -> Outcome:
        try:
            refused, answer = await smtp.send_message(
                mail, sender=self._sender, recipients=recipients
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            if all(one.code in _LOGIN_FAULTS for one in error.recipients):
                return self._verdict(error.recipients[0], "no acepta a ningún destinatario", before)
            refusals = [self._refusal(e.recipient, e.code, e.message) for e in error.recipients]
            return settled(self._server, before, refusals, told=False)
        except aiosmtplib.SMTPSenderRefused as error:
            return self._verdict(error, "no acepta el remitente", before)
        except aiosmtplib.SMTPResponseException as error:
            return self._verdict(error, "no acepta el correo", before)
        refusals = [self._refusal(to, said.code, said.message) for to, said in refused.items()]
        return settled(self._server, before, refusals, told=True, external_id=self._clean(answer))

    def _refusal(self, address: str, code: int, answer: str) -> Refusal:
        return Refusal(address, code, self._clean(answer))

    def _verdict(
        self, error: aiosmtplib.SMTPResponseException, what: str, before: Progress | None
    ) -> Outcome:
        reason = self._said(error, what)
        if error.code < 500:  # also -1, an answer that is no SMTP
            return Retry(reason)
        if error.code in _LOGIN_FAULTS:
            return Disabled(reason)
        return finished(before, reason)

    def _broken(self, error: Exception) -> Retry:
        if isinstance(error, TimeoutError):
            return Retry(f"{self._server} no responde en {self._settings.timeout:g} s")
        return Retry(network_reason(error, self._server))

    def _said(self, error: aiosmtplib.SMTPResponseException, what: str) -> str:
        return f"{self._server} {what}: {error.code} {self._clean(error.message)}".rstrip()

    def _clean(self, answer: str) -> str:
        for address in (self._sender, *self._settings.recipient):
            answer = answer.replace(address, masked_address(address))
        return answer_line(answer, self._secrets)


def _password(settings: EmailSettings) -> str | None:
    """Returns the password that may be used: none without TLS, not even on this machine."""
    if settings.password is None:
        return None
    if settings.tls == "none":
        _log.warning("email: con tls: none no se inicia sesión; la contraseña no se usa")
        return None
    return settings.password.get_secret_value()


def _secret_forms(login: str, password: str | None) -> tuple[str, ...]:
    """Returns the password in each form in which a server may repeat it."""
    if password is None:
        return ()
    plain = f"\0{login}\0{password}"
    encoded = (b64encode(text.encode()).decode() for text in (plain, password))
    return (password, *encoded)


def _own_name() -> str:
    """Returns our name for EHLO, without asking a DNS server, which may be down too."""
    name = socket.gethostname()
    return name if _FULL_NAME.fullmatch(name) else _NO_NAME


async def _say_goodbye(smtp: aiosmtplib.SMTP) -> None:
    with contextlib.suppress(aiosmtplib.SMTPException, OSError):
        await smtp.quit(timeout=_GOODBYE)


class _Connection(aiosmtplib.SMTP):
    """Is dropped at once when closed, and says why when the server closes it."""

    async def execute_command(self, *args: bytes, **kwargs: Any) -> aiosmtplib.SMTPResponse:
        """Raises on a 421, after which aiosmtplib would only find that the connection is gone."""
        response = await super().execute_command(*args, **kwargs)
        if response.code == _CLOSING:
            raise aiosmtplib.SMTPResponseException(response.code, response.message)
        return response

    def close(self) -> None:
        """Aborts: a TLS shutdown would wait for a server that may hang."""
        if isinstance(self.transport, asyncio.WriteTransport):
            self.transport.abort()
        super().close()
