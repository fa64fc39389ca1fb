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
from typing import Any, Literal, Self

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

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
        self._sessions: set[_Session] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
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
        context = None if self.tls == "none" else _context(self.name)
        self._listener = await asyncio.get_running_loop().create_server(
            lambda: _Session(self, context if self.tls == "starttls" else None),
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

    def joined(self, session: _Session) -> None:
        self._sessions.add(session)
        self._idle.clear()

    def works(self, task: asyncio.Task[None]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def left(self, session: _Session) -> None:
        self._sessions.discard(session)
        if not self._sessions:
            self._idle.set()


class _Session(SMTP):
    """One connection."""

    def __init__(self, owner: SmtpServer, context: ssl.SSLContext | None) -> None:
        self._owner = owner
        self._raw: Any = None
        super().__init__(
            _Handler(owner),
            hostname="smtp.test",
            tls_context=None if owner.strip_starttls else context,
            auth_require_tls=owner.tls == "starttls",
            authenticator=self._check_login,
            auth_exclude_mechanism=() if owner.login else ("PLAIN", "LOGIN"),
            loop=asyncio.get_running_loop(),
        )
        self.command_size_limits["AUTH"] = 4096

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if self._raw is None:  # the second call is STARTTLS on the same connection
            self._raw = transport
            self._owner.joined(self)
        super().connection_made(transport)
        if self._handler_coroutine is not None:
            self._owner.works(self._handler_coroutine)

    def connection_lost(self, error: Exception | None) -> None:
        self._owner.left(self)
        super().connection_lost(error)

    @property
    def is_encrypted(self) -> bool:
        transport = self.transport
        return transport is not None and transport.get_extra_info("sslcontext") is not None

    def drop(self) -> None:
        self._raw.abort()

    async def _handle_client(self) -> None:
        self._owner.commands.append("CONNECT")
        answer = await self.obey("CONNECT")
        if answer is not None:
            await self.push(answer)
            self._raw.close()
            return
        await super()._handle_client()

    async def smtp_AUTH(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        self._owner.commands.append("AUTH")
        answer = await self.obey("AUTH")
        if answer is not None:
            await self.push(answer)
        else:
            await super().smtp_AUTH(arg)

    async def smtp_STARTTLS(self, arg: str) -> None:  # noqa: N802 - aiosmtpd's name
        self._owner.commands.append("STARTTLS")
        answer = await self.obey("STARTTLS")
        if answer is not None:
            await self.push(answer)
        else:
            await super().smtp_STARTTLS(arg)

    async def obey(self, command: str, detail: str = "") -> str | None:
        """Does what the programme says about a command; returns the answer that it gives."""
        if command in self._owner.cut:
            self.drop()
        if command in self._owner.cut | self._owner.hang:
            await asyncio.get_running_loop().create_future()  # ends with the connection
        return self._owner.answers.get(f"{command} {detail}", self._owner.answers.get(command))

    def _check_login(
        self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        assert isinstance(data, LoginPassword)
        given = (data.login.decode(), data.password.decode())
        if given != self._owner.login:
            return AuthResult(success=False, handled=False)
        return AuthResult(success=True, auth_data=data)


class _Handler:
    def __init__(self, owner: SmtpServer) -> None:
        self._owner = owner

    async def _obey(self, server: _Session, command: str, detail: str = "") -> str | None:
        self._owner.commands.append(command)
        return await server.obey(command, detail)

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's names, here and below
        self,
        server: _Session,
        session: Session,
        envelope: Envelope,
        hostname: str,
        responses: list[str],
    ) -> list[str]:
        session.host_name = hostname
        answer = await self._obey(server, "EHLO")
        return responses if answer is None else [answer]

    async def handle_MAIL(  # noqa: N802
        self,
        server: _Session,
        session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        answer = await self._obey(server, "MAIL")
        if answer is not None:
            return answer
        if self._owner.login and not session.authenticated:
            return "530 5.7.0 Authentication required"
        envelope.mail_from = address
        return "250 OK"

    async def handle_RCPT(  # noqa: N802
        self,
        server: _Session,
        session: Session,
        envelope: Envelope,
        address: str,
        options: list[str],
    ) -> str:
        answer = await self._obey(server, "RCPT", address)
        if answer is not None:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(  # noqa: N802
        self, server: _Session, session: Session, envelope: Envelope
    ) -> str:
        answer = await self._obey(server, "DATA")
        if answer is not None:
            return answer
        data: Any = session.auth_data
        assert envelope.mail_from is not None
        assert isinstance(envelope.original_content, bytes)
        self._owner.messages.append(
            Received(
                sender=envelope.mail_from,
                recipients=tuple(envelope.rcpt_tos),
                content=envelope.original_content,
                encrypted=server.is_encrypted,
                login=data.login.decode() if session.authenticated else None,
            )
        )
        return f"250 2.0.0 Ok: queued as {len(self._owner.messages):04X}"

    async def handle_QUIT(  # noqa: N802
        self, server: _Session, session: Session, envelope: Envelope
    ) -> str:
        return await self._obey(server, "QUIT") or "221 2.0.0 Bye"

    async def handle_exception(self, error: Exception) -> str:
        return f"421 4.3.0 {type(error).__name__}"


@cache
def _authority() -> trustme.CA:
    return trustme.CA()


def _context(name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _authority().issue_cert(name).configure_cert(context)
    return context
