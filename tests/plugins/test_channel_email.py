from __future__ import annotations

import asyncio
import logging
import socket
import time
from dataclasses import replace
from typing import Any

import pytest

from src.plugins.alert_manager.domain.delivery import (
    Disabled,
    Message,
    Outcome,
    Rejected,
    Retry,
    Sent,
)
from src.plugins.alert_manager.utils.channels.email import EmailChannel, EmailSettings
from tests.plugins.channel_messages import MESSAGE, refusing_port
from tests.support.smtp import SmtpServer, server_context

LOGIN = ("alertas@familia.mx", "muy-secreta-4711")
TO = ("ana@familia.mx", "beto@familia.mx")


def _channel(server: SmtpServer, **changes: Any) -> EmailChannel:
    said: dict[str, Any] = {
        "smtp_server": server.host,
        "smtp_port": server.port,
        "tls": server.tls,
        "sender": "alertas@familia.mx",
        "recipient": list(TO),
        "timeout": 5,
    }
    if server.tls != "none":
        said["ca_file"] = server.ca_file
    if server.login:
        said["username"], said["password"] = server.login
    return EmailChannel(EmailSettings(**said | changes))


async def _send(server: SmtpServer, message: Message = MESSAGE, **changes: Any) -> Outcome:
    """Sends one mail, and sees that no connection stays behind."""
    channel = _channel(server, **changes)
    outcome = await channel.send([message])
    await channel.close()
    await server.wait_idle()
    return outcome


@pytest.mark.parametrize("tls", ["none", "starttls", "implicit"])
async def test_a_mail_arrives(tls: Any) -> None:
    async with SmtpServer(tls=tls, login=None if tls == "none" else LOGIN) as server:
        assert await _send(server) == Sent("2.0.0 Ok: queued as 0001")
    (received,) = server.messages
    assert received.sender == "alertas@familia.mx"
    assert received.recipients == TO
    assert received.encrypted == (tls != "none")
    assert received.login == (None if tls == "none" else LOGIN[0])


async def test_without_tls_there_is_no_login(caplog: pytest.LogCaptureFixture) -> None:
    async with SmtpServer() as server:
        assert isinstance(await _send(server, password=LOGIN[1]), Sent)
    assert not any(command.startswith("AUTH") for command in server.commands)
    assert "la contraseña no se usa" in caplog.text
    assert LOGIN[1] not in caplog.text


LATER, NEVER, DISABLED = Retry, Rejected, Disabled
ANSWERS = [
    ("CONNECT", "421 4.3.2 shutting down", LATER),
    ("CONNECT", "554 5.7.1 no service for you", LATER),
    ("EHLO", "451 4.3.0 local error", LATER),
    ("EHLO", "550 5.7.1 go away", LATER),
    ("STARTTLS", "454 4.7.0 TLS not available", LATER),
    ("AUTH", "454 4.7.0 temporary authentication failure", LATER),
    ("AUTH", "421 4.7.0 too many errors", LATER),
    ("AUTH", "535 5.7.8 authentication credentials invalid", DISABLED),
    ("AUTH", "534 5.7.9 application-specific password required", DISABLED),
    ("AUTH", "504 5.5.4 unrecognized authentication type", DISABLED),
    ("MAIL", "450 4.1.0 later", LATER),
    ("MAIL", "452 4.3.1 insufficient storage", LATER),
    ("MAIL", "550 5.7.1 sender not allowed", NEVER),
    ("MAIL", "530 5.7.0 authentication required", DISABLED),
    ("RCPT", "450 4.2.0 greylisted", LATER),
    ("RCPT", "421 4.7.0 closing", LATER),
    ("RCPT", "550 5.1.1 unknown user", NEVER),
    ("DATA", "451 4.3.0 later", LATER),
    ("DATA", "552 5.3.4 too big", NEVER),
    ("DATA", "554 5.7.1 looks like spam", NEVER),
    ("DATA", "no SMTP at all", LATER),
]


@pytest.mark.parametrize(("command", "answer", "expected"), ANSWERS)
async def test_outcomes(command: str, answer: str, expected: type[Outcome]) -> None:
    async with SmtpServer(tls="starttls", login=LOGIN, answers={command: answer}) as server:
        outcome = await _send(server)
        where = f"127.0.0.1:{server.port} "
    assert isinstance(outcome, Retry | Rejected | Disabled)
    assert type(outcome) is expected
    assert outcome.reason.startswith(where)
    assert (answer if answer[0].isdigit() else "-1") in outcome.reason
    assert server.messages == []


@pytest.mark.parametrize("command", ["CONNECT", "EHLO", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA"])
async def test_a_cut_connection(command: str) -> None:
    async with SmtpServer(tls="starttls", login=LOGIN, cut={command}) as server:
        outcome = await _send(server)
    assert outcome == Retry(f"127.0.0.1:{server.port} cortó la conexión")


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize("command", ["CONNECT", "EHLO", "AUTH", "DATA"])
async def test_a_server_that_hangs(command: str, tls: Any) -> None:
    async with SmtpServer(tls=tls, login=LOGIN, hang={command}) as server:
        started = time.monotonic()
        outcome = await _send(server, timeout=0.3)
        assert time.monotonic() - started < 3
    assert outcome == Retry(f"127.0.0.1:{server.port} no responde en 0.3 s")


async def test_a_server_that_never_greets_a_tls_handshake() -> None:
    async with asyncio.timeout(5):
        held = asyncio.Event()

        async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await held.wait()
            writer.close()

        listener = await asyncio.start_server(hold, "127.0.0.1", 0)
        async with SmtpServer(tls="implicit", login=LOGIN) as server:
            port = listener.sockets[0].getsockname()[1]
            outcome = await _send(server, smtp_port=port, timeout=0.3)
        held.set()
        listener.close()
        await listener.wait_closed()
    assert outcome == Retry(f"127.0.0.1:{port} no responde en 0.3 s")


async def test_a_connection_is_dropped_at_once_though_the_other_side_is_dead() -> None:
    """A TLS goodbye would wait half a minute for the answer of a machine that hangs."""
    async with SmtpServer(tls="implicit") as server:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            dead = asyncio.create_task(asyncio.to_thread(_dead_server, listener))
            port = listener.getsockname()[1]
            outcome = await _send(server, smtp_port=port, timeout=0.5)
            assert await dead == b""
    assert outcome == Retry(f"127.0.0.1:{port} no responde en 0.5 s")


def _dead_server(listener: socket.socket) -> bytes:
    """Makes one TLS handshake, says nothing, and returns how the other side ends: b"" is a FIN.

    Raises:
        TimeoutError: it does not end.
    """
    accepted, _ = listener.accept()
    secured = server_context("127.0.0.1").wrap_socket(accepted, server_side=True)
    with socket.socket(fileno=secured.detach()) as bare:
        bare.settimeout(3)
        while part := bare.recv(4096):
            pass  # the last words of TLS, which nobody answers
        return part


@pytest.mark.parametrize("fault", ["hang", "cut"])
async def test_a_delivered_mail_stays_delivered_whatever_follows(
    fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("src.plugins.alert_manager.utils.channels.email._GOODBYE", 0.2)
    async with SmtpServer() as server:
        getattr(server, fault).add("QUIT")
        assert isinstance(await _send(server), Sent)
    assert len(server.messages) == 1


async def test_nobody_listens() -> None:
    with refusing_port() as port:
        async with SmtpServer() as server:
            outcome = await _send(server, smtp_port=port)
    assert outcome == Retry(f"127.0.0.1:{port} rechaza la conexión")


async def test_starttls_stripped_means_no_login_and_no_mail() -> None:
    async with SmtpServer(tls="starttls", login=LOGIN, strip_starttls=True) as server:
        outcome = await _send(server)
    assert isinstance(outcome, Retry)
    assert "no ofrece STARTTLS" in outcome.reason
    assert server.commands == ["CONNECT", "EHLO", "QUIT"]
    assert server.messages == []


@pytest.mark.parametrize("tls", ["starttls", "implicit"])
@pytest.mark.parametrize("name", ["127.0.0.1", "otro.example"])
async def test_a_certificate_that_does_not_fit(tls: Any, name: str) -> None:
    """Signed by nobody we know, or made for somebody else."""
    async with SmtpServer(tls=tls, login=LOGIN, name=name) as server:
        ca_file = None if name == "127.0.0.1" else server.ca_file
        outcome = await _send(server, ca_file=ca_file)
    assert isinstance(outcome, Retry)
    assert "certificado TLS" in outcome.reason
    assert "AUTH" not in server.commands
    assert "MAIL" not in server.commands


async def test_tls_where_there_is_none() -> None:
    async with SmtpServer() as server:
        outcome = await _send(server, tls="implicit")
    assert outcome == Retry(f"falló la conexión TLS con 127.0.0.1:{server.port}")


async def test_wrong_password_and_no_secret_anywhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with SmtpServer(tls="starttls", login=LOGIN) as server:
        outcome = await _send(server, password="no-es-esta-4711")
    assert isinstance(outcome, Disabled)
    assert "usuario o la contraseña" in outcome.reason
    assert "no-es-esta" not in outcome.reason
    assert "no-es-esta" not in _our_log(caplog)


ECHOES = {
    "clear": "muy-secreta-4711",
    "base64": "bXV5LXNlY3JldGEtNDcxMQ==",
    "plain": "AGFsZXJ0YXNAZmFtaWxpYS5teABtdXktc2VjcmV0YS00NzEx",
}


@pytest.mark.parametrize("form", ECHOES)
@pytest.mark.parametrize("command", ["AUTH", "MAIL", "RCPT", "DATA"])
async def test_a_server_that_repeats_the_password(
    form: str, command: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    answers = {command: f"550 5.5.2 what is {ECHOES[form]}?"}
    async with SmtpServer(tls="starttls", login=LOGIN, answers=answers) as server:
        outcome = await _send(server)
    assert isinstance(outcome, Rejected | Disabled)
    assert outcome.reason.endswith("550 5.5.2 what is [oculto]?")
    assert ECHOES[form] not in _our_log(caplog)


def _our_log(caplog: pytest.LogCaptureFixture) -> str:
    """What the project and its libraries logged; aiosmtpd is the other side."""
    ours = [record for record in caplog.records if not record.name.startswith("mail.")]
    return "\n".join(record.getMessage() for record in ours)


async def test_an_auth_method_that_nobody_knows() -> None:
    async with SmtpServer(tls="starttls") as server:
        outcome = await _send(server, password="x")
    assert isinstance(outcome, Retry)
    assert "autenticación" in outcome.reason
    assert "MAIL" not in server.commands


async def test_cancelled_in_the_middle_it_leaves_no_connection() -> None:
    async with SmtpServer(tls="implicit", hang={"DATA"}) as server:
        task = asyncio.create_task(_channel(server).send([MESSAGE]))
        async with asyncio.timeout(5):
            await server.hanging.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await server.wait_idle()


async def test_a_repeat_has_the_same_message_id() -> None:
    async with SmtpServer() as server:
        await _send(server)
        await _send(server, replace(MESSAGE, attempt=2))
        await _send(server, replace(MESSAGE, alert_id=13))
    ids = [received.mail["Message-ID"] for received in server.messages]
    assert ids[0] == ids[1] == "<corec-alerta-12-1763872000500@familia.mx>"
    assert ids[2] != ids[0]
