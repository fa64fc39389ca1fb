"""What people were told without alert_db is handed in: once for all who wait, page after page."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from msgspec.structs import replace
from psycopg2.extensions import parse_dsn

from src.plugins.alert_manager.domain.delivery import Attempt, Progress, Sent
from src.plugins.alert_manager.domain.errors import DatabaseUnavailableError
from src.plugins.alert_manager.domain.outcome import Judged
from src.plugins.alert_manager.untold import Untold
from src.plugins.alert_manager.utils import hand_in, spool
from src.plugins.alert_manager.utils.commit import store
from src.plugins.alert_manager.utils.hand_in import HandIn
from src.plugins.alert_manager.utils.pg import PgSession
from src.plugins.alert_manager.utils.queue import Again, Due
from src.plugins.alert_manager.utils.spool import Spool
from src.plugins.alert_manager.utils.spool_file import SpoolFile
from src.plugins.alert_manager.utils.spool_queue import SpoolQueue
from src.plugins.alert_manager.utils.spooled import Told
from tests.plugins.conftest import SCHEMA, World
from tests.plugins.test_outage_fallback import urgent

DISCORD = Due("discord", 86_400.0)
OK = Attempt("sent", 0.1, "204")


class HeldSpool(Spool):
    """A spool that says what was told when it may, and how often it was asked."""

    def __init__(self, file: SpoolFile, untold: Untold) -> None:
        super().__init__(file, untold)
        self.may, self.asked = asyncio.Event(), 0

    async def told(self, after: int) -> list[Told]:
        self.asked += 1
        await self.may.wait()
        return await super().told(after)


@pytest.fixture
async def session(world: World) -> AsyncIterator[PgSession]:
    """alert_db with its tables."""
    world.alert(SCHEMA.read_text(encoding="utf-8"))
    opened = PgSession("t", parse_dsn(world.alert_dsn))
    yield opened
    await opened.close()


@pytest.fixture
async def kept(tmp_path: Path) -> AsyncIterator[HeldSpool]:
    opened = HeldSpool(SpoolFile(tmp_path / "s.sqlite3"), Untold())
    yield opened
    await opened.file.close()


async def tell(kept: Spool, count: int) -> None:
    """Discord takes so many alerts."""
    await kept.add([urgent(n, bytes([n]) * 16) for n in range(count)], "eventos")
    queue = SpoolQueue(kept)
    while (claim := await queue.claim(DISCORD, 10)) is not None:
        await queue.sent(claim, Sent(None), OK)


def handed_in(world: World) -> int:
    return int(world.alert("SELECT count(*) FROM told_ahead")[0][0])


async def test_who_comes_meanwhile_waits_until_it_is_done(
    world: World, session: PgSession, kept: HeldSpool
) -> None:
    """Else what was told would be claimed, or stored as not told yet."""
    await tell(kept, 1)
    shared = HandIn(kept, session)
    first = asyncio.create_task(shared.report())
    second = asyncio.create_task(shared.report())
    done, _ = await asyncio.wait({first, second}, timeout=0.3)
    assert not done
    kept.may.set()
    await second
    assert (handed_in(world), kept.asked) == (1, 2)  # the second page was empty
    await first


async def test_all_who_wait_hear_of_one_failure_and_the_next_one_tries_again(
    world: World, session: PgSession, kept: HeldSpool
) -> None:
    """One after the other they would wait for minutes, where alert_db hangs."""
    await tell(kept, 1)
    away = PgSession("t", parse_dsn("postgresql://nobody@127.0.0.1:1/none"))
    shared = HandIn(kept, away)
    waiting = [asyncio.create_task(shared.report()) for _ in range(3)]
    await asyncio.sleep(0.1)
    kept.may.set()
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(one) for one in found] == [DatabaseUnavailableError] * 3
    assert kept.unreported
    assert kept.asked == 1
    with pytest.raises(DatabaseUnavailableError):
        await shared.report()
    assert kept.asked == 2
    await away.close()
    await HandIn(kept, session).report()
    assert handed_in(world) == 1


async def test_who_is_cancelled_leaves_it_to_the_next(
    world: World, session: PgSession, kept: HeldSpool
) -> None:
    await tell(kept, 1)
    shared = HandIn(kept, session)
    first = asyncio.create_task(shared.report())
    second = asyncio.create_task(shared.report())
    await asyncio.sleep(0.1)
    first.cancel()
    kept.may.set()
    await second
    assert handed_in(world) == 1


async def test_a_long_outage_is_handed_in_by_pages(
    world: World, session: PgSession, kept: HeldSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "_PAGE", 10)
    await tell(kept, 25)
    await kept.add([urgent(99, b"z" * 16)], "eventos")
    queue = SpoolQueue(kept)
    claim = await queue.claim(DISCORD, 1)
    assert claim is not None  # some recipients have it, and it goes on waiting
    in_part = Progress(("beto@x.mx",), "", True)
    await queue.retry(claim, Again(300.0, "450", progress=in_part), OK)
    kept.may.set()
    await HandIn(kept, session).report()
    assert (handed_in(world), kept.asked) == (26, 4)
    assert [one.channel for one in await kept.told(0)] == ["discord"]  # what waits still


async def test_a_fallback_of_a_fallback_may_be_in_the_page_before(
    world: World, session: PgSession, kept: HeldSpool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "_PAGE", 1)
    await kept.add([replace(urgent(1, b"f" * 16), targets=("discord", "email"))], "eventos")
    queue = SpoolQueue(kept)
    assert await queue.hand_over(DISCORD, "log")
    assert await queue.hand_over(Due("email", 86_400.0), "discord")
    claim = await queue.claim(Due("log", 86_400.0), 1)
    assert claim is not None
    await queue.sent(claim, Sent(None), OK)
    kept.may.set()
    await HandIn(kept, session).report()
    told = world.alert("SELECT channel, told_at > 0 FROM told_ahead ORDER BY channel")
    assert told == [("discord", True), ("email", True), ("log", True)]


async def test_an_answer_that_was_lost_changes_nothing(
    world: World, session: PgSession, kept: HeldSpool
) -> None:
    """alert_db has marked it, and we have not heard of it: the next outage is not to tell it."""
    await tell(kept, 1)
    kept.may.set()
    loss = urgent(0, bytes(16))
    with closing(psycopg2.connect(world.alert_dsn)) as connection:
        with connection.cursor() as cursor:
            stored = store(cursor, Judged(1, (loss,)), {})
            connection.commit()
        kept.untold.stored([loss], stored)
        hand_in._store(connection, await kept.told(0))
    await HandIn(kept, session).report()
    assert kept.untold.take() == []
    assert world.alert("SELECT status FROM notifications") == [("sent",)]


async def test_what_is_being_told_when_it_is_stored_from_here_is_handed_in(
    world: World, session: PgSession, kept: HeldSpool
) -> None:
    """An alert of our own: nobody brings it once more, and its message is under way."""
    await kept.add([urgent(0, bytes(16))], "own", own=True)
    queue = SpoolQueue(kept)
    claim = await queue.claim(DISCORD, 10)
    assert claim is not None
    ((number, _),) = await kept.own()
    await kept.forget_own(number)
    await kept.clear("own")
    assert await kept.own() == []
    await queue.sent(claim, Sent(None), OK)
    kept.may.set()
    await HandIn(kept, session).report()
    assert handed_in(world) == 1
    await kept.clear("own")
    assert not kept._leftovers
