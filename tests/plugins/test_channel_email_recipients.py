"""A mail to several people whose server answers each of them in its own way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from src.plugins.alert_manager.domain.delivery import Outcome, Progress, Rejected, Retry, Sent
from src.plugins.alert_manager.utils.channels.email import EmailChannel, EmailSettings
from tests.plugins.channel_messages import MESSAGE
from tests.support.smtp import SmtpServer

ANA, BETO, CARLA = TO = ("ana@familia.mx", "beto@familia.mx", "carla@familia.mx")
LATER, NEVER = "450 4.2.0 greylisted", "550 5.1.1 unknown user"


def refusing(**answers: str) -> dict[str, str]:
    """The answers of a server that refuses people, by the first letter of their name."""
    return {f"RCPT {to}": answers[to[0]] for to in TO if to[0] in answers}


async def send(
    server: SmtpServer, progress: Progress | None = None, to: tuple[str, ...] = TO
) -> Outcome:
    settings = EmailSettings(
        smtp_server=server.host,
        smtp_port=server.port,
        tls="none",
        sender="alertas@familia.mx",
        recipient=to,
        timeout=5,
    )
    channel = EmailChannel(settings)
    outcome = await channel.send([replace(MESSAGE, progress=progress)])
    await server.wait_idle()
    return outcome


async def test_a_recipient_that_is_put_off_is_asked_again_alone() -> None:
    async with SmtpServer(answers=refusing(b=LATER)) as server:
        first = await send(server)
        where = f"127.0.0.1:{server.port}"
        assert first == Retry(
            f"{where} no acepta a b***@familia.mx: {LATER}",
            progress=Progress((BETO,), told=True),
        )
        again = await send(server, first.progress)
        assert again == first  # still put off
        server.answers.clear()
        assert isinstance(await send(server, first.progress), Sent)
    assert [m.recipients for m in server.messages] == [(ANA, CARLA), (BETO,)]
    assert len({m.mail["Message-ID"] for m in server.messages}) == 1


async def test_who_is_refused_for_good_is_named_in_the_end() -> None:
    async with SmtpServer(answers=refusing(a=NEVER, b=LATER)) as server:
        first = await send(server)
        assert isinstance(first, Retry)
        server.answers.clear()
        last = await send(server, first.progress)
        where = f"127.0.0.1:{server.port}"
    refused = f"{where} no acepta a a***@familia.mx: {NEVER}"
    assert first.reason == f"{where} no acepta a b***@familia.mx: {LATER}; {refused}"
    assert first.progress == Progress((BETO,), refused, told=True)
    assert last == Sent("2.0.0 Ok: queued as 0002", refused)
    assert [m.recipients for m in server.messages] == [(CARLA,), (BETO,)]


OUTCOMES: list[tuple[Mapping[str, str], type[Outcome], Progress | None]] = [
    ({"a": LATER, "b": LATER, "c": LATER}, Retry, None),
    ({"a": NEVER, "b": NEVER, "c": NEVER}, Rejected, None),
    ({"a": NEVER, "b": LATER, "c": NEVER}, Retry, Progress((BETO,), "…", told=False)),
    ({"a": NEVER, "c": NEVER}, Sent, None),
    ({"b": LATER, "c": LATER}, Retry, Progress((BETO, CARLA), told=True)),
]


@pytest.mark.parametrize(("answers", "kind", "progress"), OUTCOMES)
async def test_outcomes(
    answers: Mapping[str, str], kind: type[Outcome], progress: Progress | None
) -> None:
    async with SmtpServer(answers=refusing(**answers)) as server:
        outcome = await send(server)
    assert type(outcome) is kind
    found = outcome.progress if isinstance(outcome, Retry) else None
    if progress is None or found is None:
        assert found is progress
    else:
        assert (found.remaining, found.told) == (progress.remaining, progress.told)
        assert bool(found.refused) is bool(progress.refused)
    for address in TO:
        assert address not in getattr(outcome, "reason", "") + str(getattr(outcome, "refused", ""))


@pytest.mark.parametrize("told", [True, False])
async def test_the_last_one_refused_for_good_ends_it(told: bool) -> None:
    before = Progress((BETO,), "otro servidor no acepta a a***@familia.mx", told)
    async with SmtpServer(answers=refusing(b=NEVER)) as server:
        outcome = await send(server, before)
    reason = outcome.refused if isinstance(outcome, Sent) else getattr(outcome, "reason", "")
    assert isinstance(outcome, Sent if told else Rejected)
    assert "a***@familia.mx" in str(reason)
    assert f"b***@familia.mx: {NEVER}" in str(reason)


async def test_a_mail_that_is_refused_as_a_whole_does_not_untell_those_who_have_it() -> None:
    async with SmtpServer(answers={"DATA": "554 5.7.1 looks like spam"}) as server:
        outcome = await send(server, Progress((BETO,), told=True))
        assert isinstance(outcome, Sent)
        assert "554 5.7.1" in str(outcome.refused)
        assert isinstance(await send(server), Rejected)


async def test_a_fault_of_the_server_leaves_the_progress_where_it_was() -> None:
    async with SmtpServer(cut={"DATA"}) as server:
        outcome = await send(server, Progress((BETO,), told=True))
    assert outcome == Retry(f"127.0.0.1:{server.port} cortó la conexión")


@pytest.mark.parametrize("told", [True, False])
async def test_a_recipient_that_left_the_configuration_is_not_waited_for(told: bool) -> None:
    async with SmtpServer() as server:
        outcome = await send(server, Progress((BETO,), told=told), to=(ANA, CARLA))
    assert isinstance(outcome, Sent if told else Rejected)
    assert "ya no están en notification_config" in repr(outcome)
    assert server.commands == []
