"""Channels that wake nobody leave the processors to others, and tell everything all the same."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest
from psycopg2.extensions import parse_dsn

from benchmarks.loads import LOADS
from benchmarks.loads import events as made_events
from src.plugins.alert_manager.domain.delivery import Message, Outcome, Sent
from src.plugins.alert_manager.metrics import Metrics
from src.plugins.alert_manager.settings import BreakerSettings, DeliverySettings
from src.plugins.alert_manager.utils.background import Background
from src.plugins.alert_manager.utils.notify import Delivery
from src.plugins.alert_manager.utils.outbox import Outbox
from src.plugins.alert_manager.utils.pg import PgSession
from tests.plugins.conftest import World, eventually, unused_spool
from tests.plugins.histories import insert
from tests.plugins.test_delivery import statuses
from tests.plugins.test_delivery_faults import alert_db, queue
from tests.plugins.test_storms import storm

__all__ = ["alert_db"]

NAME = "registro"


class Slow:
    """A channel that takes a while for each batch, and remembers how large each was, and when."""

    max_batch = 10

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.ends: list[float] = []

    async def send(self, batch: Sequence[Message]) -> Outcome:
        await asyncio.sleep(0.02)
        self.sizes.append(len(batch))
        self.ends.append(time.monotonic())
        return Sent()

    async def close(self) -> None:
        """Has nothing to give back."""


@asynccontextmanager
async def delivering(world: World, background: Background) -> AsyncIterator[tuple[Delivery, Slow]]:
    session, slow = PgSession("t", parse_dsn(world.alert_dsn)), Slow()
    delivery = Delivery(
        Outbox(session),
        unused_spool(),
        {NAME: slow},
        BreakerSettings(),
        DeliverySettings(),
        Metrics(),
        backgrounds={NAME: background},
    )
    delivery.start()
    try:
        yield delivery, slow
    finally:
        await delivery.stop()
        await session.close()


def all_told(world: World, count: int) -> Callable[[], bool]:
    return lambda: statuses(world, NAME) == {"sent": count}


@pytest.mark.parametrize(
    ("in_flood", "took", "rest"), [(False, 0.02, 0.0), (True, 0.02, 0.6), (True, 5.0, 1.0)]
)
def test_it_rests_in_a_flood_alone_and_never_for_long(
    in_flood: bool, took: float, rest: float
) -> None:
    assert Background(0.1, lambda: in_flood).rest(took) == pytest.approx(rest)


async def test_what_comes_close_together_is_told_together(alert_db: World) -> None:
    async with delivering(alert_db, Background(linger=0.5)) as (delivery, slow):
        await asyncio.sleep(0.3)  # it has found nothing, and waits
        for number in range(5):
            queue(alert_db, NAME, str(number))
            delivery.wake([NAME])
            await asyncio.sleep(0.01)
        await eventually(all_told(alert_db, 5))
    assert slow.sizes == [5]


async def test_who_is_not_in_the_background_tells_at_once(alert_db: World) -> None:
    async with delivering(alert_db, Background()) as (delivery, slow):
        await asyncio.sleep(0.3)
        for number in range(3):
            queue(alert_db, NAME, str(number))
            delivery.wake([NAME])
            await eventually(lambda: len(slow.sizes) > number)  # noqa: B023
    assert slow.sizes == [1, 1, 1]


async def test_in_a_flood_it_goes_on_slowly_and_after_it_fast(alert_db: World) -> None:
    flood = True
    storm(alert_db, NAME, {2: 100})
    async with delivering(alert_db, Background(0.0, lambda: flood)) as (_, slow):
        await eventually(lambda: len(slow.sizes) >= 4)
        flood = False
        await eventually(all_told(alert_db, 100))
    pauses = [later - sooner for sooner, later in zip(slow.ends, slow.ends[1:], strict=False)]
    assert slow.sizes == [10] * 10
    assert min(pauses[:3]) > 0.5  # thirty times as long as a send took
    assert sum(pauses[-5:]) < sum(pauses[:3])


async def test_what_comes_while_it_rests_is_told_right_after(alert_db: World) -> None:
    queue(alert_db, NAME, "una")
    async with delivering(alert_db, Background(0.0, lambda: True)) as (delivery, slow):
        for number in (1, 2, 3):
            await eventually(lambda: len(slow.sizes) == number, 3.0)  # noqa: B023
            await asyncio.sleep(0.1)  # it rests, or waits
            queue(alert_db, NAME, "otra")
            delivery.wake([NAME])
            await asyncio.sleep(0.1)
    assert slow.ends[-1] - slow.ends[0] < 3.0  # who is not woken looks every 5 s


async def test_a_stop_does_not_wait_for_a_rest(alert_db: World) -> None:
    storm(alert_db, NAME, {2: 100})
    background = Background(60.0, lambda: True)
    async with delivering(alert_db, background) as (delivery, slow):
        await eventually(lambda: len(slow.sizes) >= 1)
        began = time.monotonic()
        await delivery.stop()
        assert time.monotonic() - began < 0.5
    assert set(statuses(alert_db, NAME)) == {"pending", "sent"}
    claimed = alert_db.alert(
        "SELECT FROM notifications WHERE status = 'pending' AND lease_token IS NOT NULL"
    )
    assert not claimed


async def test_a_backlog_is_stored_first_and_then_all_of_it_is_told(world: World) -> None:
    world.config["config"]["reader"] = {"start_from": "beginning"}
    insert(world.corec_dsn, made_events(LOADS["100 %"], 4000, time.time()))
    async with world.running():
        await eventually(lambda: world.alert("SELECT count(*) FROM alerts")[0][0] >= 4000, 60.0)
        told_by_then = count(world, "sent")
        await eventually(lambda: not count(world, "pending"), 60.0)
        told = count(world, "sent")
    assert told >= 3 * 4000
    assert told_by_then < told / 3


def count(world: World, status: str) -> int:
    sql = "SELECT count(*) FROM notifications WHERE status = %s"
    return int(world.alert(sql, (status,))[0][0])
