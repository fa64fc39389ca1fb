# ruff: noqa: N802 - aiosmtpd finds its hooks by their names
"""One connection of the SMTP server in `smtp.py`, which does what that server's programme says."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

if TYPE_CHECKING:
    from tests.support.smtp import SmtpServer


class SmtpSession(SMTP):
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

    async def smtp_AUTH(self, arg: str) -> None:
        self._owner.commands.append("AUTH")
        answer = await self.obey("AUTH")
        if answer is not None:
            await self.push(answer)
        else:
            await super().smtp_AUTH(arg)

    async def smtp_STARTTLS(self, arg: str) -> None:
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
            self._owner.hanging.set()
            try:
                await asyncio.get_running_loop().create_future()  # ends with the connection
            finally:
                self.drop()
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

    async def _obey(self, server: SmtpSession, command: str, detail: str = "") -> str | None:
        self._owner.commands.append(command)
        return await server.obey(command, detail)

    async def handle_EHLO(
        self,
        server: SmtpSession,
        session: Session,
        envelope: Envelope,
        hostname: str,
        responses: list[str],
    ) -> list[str]:
        session.host_name = hostname
        answer = await self._obey(server, "EHLO")
        return responses if answer is None else [answer]

    async def handle_MAIL(
        self,
        server: SmtpSession,
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

    async def handle_RCPT(
        self,
        server: SmtpSession,
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

    async def handle_DATA(self, server: SmtpSession, session: Session, envelope: Envelope) -> str:
        answer = await self._obey(server, "DATA")
        if answer is not None:
            return answer
        data: Any = session.auth_data
        assert envelope.mail_from is not None
        assert isinstance(envelope.original_content, bytes)
        self._owner.accept(
            sender=envelope.mail_from,
            recipients=tuple(envelope.rcpt_tos),
            content=envelope.original_content,
            encrypted=server.is_encrypted,
            login=data.login.decode() if session.authenticated else None,
        )
        return f"250 2.0.0 Ok: queued as {len(self._owner.messages):04X}"

    async def handle_QUIT(self, server: SmtpSession, session: Session, envelope: Envelope) -> str:
        return await self._obey(server, "QUIT") or "221 2.0.0 Bye"

    async def handle_exception(self, error: Exception) -> str:
        return f"421 4.3.0 {type(error).__name__}"
