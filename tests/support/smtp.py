"""A real SMTP server (aiosmtpd) on 127.0.0.1, inside the running loop, that can be told to fail.

async with SmtpServer(tls="starttls", login=("user", "secret")) as server:
    ...  # connect to server.host, server.port, trusting server.ca_file
    server.answers["RCPT"] = "450 4.2.0 try again later"
    assert server.messages[0].mail["Subject"] == "..."
"""

from __future__ import annotations

import asyncio
import ssl
import tempfile
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import default
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import trustme

from tests.support.smtp_session import SmtpSession

Tls = Literal["none", "starttls", "implicit"]
HOST = "127.0.0.1"


@dataclass(frozen=True, slots=True)
class Received:
    """A mail that the server accepted, and how it came."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    encrypted: bool
    login: str | None

    @property
    def mail(self) -> EmailMessage:
        parsed = BytesParser(policy=default).parsebytes(self.content)
        assert isinstance(parsed, EmailMessage)
        return parsed


@dataclass
class SmtpServer:
    """The server, its programme and its records.

    Attributes:
        tls: what it speaks; `starttls` offers it, unless `strip_starttls` is set.
        login: user and password that it asks for; None asks for nothing.
        name: for whom its certificate is made.
        answers: an answer that replaces its own, by command (`CONNECT`, `EHLO`, `AUTH`, `MAIL`,
            `RCPT`, `DATA`), for instance `{"DATA": "451 4.3.0 later"}`; `RCPT <address>` is for one
            recipient.
        hang: commands (or `CONNECT`) that it never answers.
        cut: commands (or `CONNECT`) at which it drops the connection.
        commands: the commands that it was sent, in order.
        hanging: set while it leaves a command without an answer.
        ca_file: a file with the authority that signed its certificate, while it runs.
    """

    tls: Tls = "none"
    login: tuple[str, str] | None = None
    name: str = HOST
    strip_starttls: bool = False
    answers: dict[str, str] = field(default_factory=dict)
    hang: set[str] = field(default_factory=set)
    cut: set[str] = field(default_factory=set)
    messages: list[Received] = field(default_factory=list)
    commands: list[str] = field(default_factory=list)
    host: str = HOST
    port: int = 0
    ca_file: str = ""

    def __post_init__(self) -> None:
        self._sessions: set[SmtpSession] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self.hanging = asyncio.Event()
        self._listener: asyncio.Server | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    @property
    def open_connections(self) -> int:
        """Number of connections now."""
        return len(self._sessions)

    async def __aenter__(self) -> Self:
        self._idle.set()
        self._folder = tempfile.TemporaryDirectory(prefix="smtp-ca-")
        self.ca_file = str(Path(self._folder.name) / "ca.pem")
        _authority().cert_pem.write_to_path(self.ca_file)
        context = None if self.tls == "none" else server_context(self.name)
        self._listener = await asyncio.get_running_loop().create_server(
            lambda: SmtpSession(self, context if self.tls == "starttls" else None),
            self.host,
            self.port,
            ssl=context if self.tls == "implicit" else None,
        )
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._listener is not None
        assert self._folder is not None
        self._listener.close()
        for session in list(self._sessions):
            session.drop()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.wait_idle()
        await self._listener.wait_closed()
        self._folder.cleanup()

    async def wait_idle(self, timeout: float = 5.0) -> None:  # noqa: ASYNC109 - of a test
        """Waits until no connection is open.

        Raises:
            TimeoutError: one stays open.
        """
        async with asyncio.timeout(timeout):
            await self._idle.wait()

    def joined(self, session: SmtpSession) -> None:
        self._sessions.add(session)
        self._idle.clear()

    def works(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def left(self, session: SmtpSession) -> None:
        self._sessions.discard(session)
        if not self._sessions:
            self._idle.set()

    def accept(
        self,
        sender: str,
        recipients: tuple[str, ...],
        content: bytes,
        encrypted: bool,
        login: str | None,
    ) -> None:
        self.messages.append(Received(sender, recipients, content, encrypted, login))


@cache
def _authority() -> trustme.CA:
    return trustme.CA()


def server_context(name: str) -> ssl.SSLContext:
    """A certificate for `name`, signed by the authority in `ca_file`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _authority().issue_cert(name).configure_cert(context)
    return context
