"""Events that come to nothing are no commit of their own: their place alone is stored, soon."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from tests.plugins.conftest import World, eventually
from tests.plugins.payloads import to_json
from tests.plugins.scrapes import scrape
from tests.plugins.test_prefetch import settled, told

NOTHING = {"outcome": "nothing", "channel": "trading_results"}


def profit(world: World, amount: float, number: int) -> int:
    event = {"plugin": "trading_execution", "profit": amount, "order_id": number}
    return world.write("trading_results", to_json(event))


def stored(world: World) -> tuple[int, int]:
    """The version of the place, and the last id up to it."""
    [(version, position)] = world.alert(
        "SELECT version, position FROM reader_positions WHERE source = 'eventos'"
    )
    return int(version), int(position["hi"])


@pytest.mark.long
async def test_they_are_counted_and_their_place_is_stored_within_seconds(world: World) -> None:
    async with world.running() as processor:
        await settled(world)
        before, _ = stored(world)
        began, last = time.monotonic(), 0
        for number in range(40):
            last = profit(world, 10, number)
            await asyncio.sleep(0.05)
        spent = time.monotonic() - began
        await eventually(lambda: stored(world)[1] == last, 6.0)
        # No new version: nothing was stored that another reader could have stored, too.
        assert stored(world)[0] == before, spent

        async def counted() -> float:
            return (await scrape(processor)).value("alert_manager_events_total", **NOTHING)

        assert await counted() == 40


async def test_who_goes_on_from_an_older_place_judges_them_again_and_loses_nothing(
    world: World,
) -> None:
    async with world.running("corec1"):
        await settled(world)
        for number in range(10):
            profit(world, 10, number)
        profit(world, -500, 10)
        await eventually(lambda: told(world) == 1)
        place = stored(world)
        for number in range(20):
            profit(world, 10, 11 + number)
            await asyncio.sleep(0.01)
        # Whatever was passed over is read again by whoever reads next, as after a kill -9.
        world.alert(
            "UPDATE reader_positions SET position = jsonb_set(position, '{hi}', to_jsonb(%s)),"
            " version = version + 1 WHERE source = 'eventos'",
            (place[1],),
        )
        profit(world, -600, 31)
        await eventually(lambda: told(world) == 2)
    assert [row["occurrences"] for row in world.alerts() if row["rule"] == "perdida"] == [1, 1]


async def test_a_threshold_that_another_instance_changes_counts_for_the_next_event(
    world: World,
) -> None:
    def change(value: float) -> None:
        world.alert(
            "INSERT INTO threshold_changes"
            " (name, old_value, new_value, base_value, timestamp, changed_by)"
            " VALUES ('loss', 100, %s, 100, extract(epoch FROM now()), 'otra')",
            (value,),
        )

    async with world.running():
        await settled(world)
        profit(world, -60, 1)  # nothing, by what the file says
        await asyncio.sleep(0.5)
        assert told(world) == 0
        await asyncio.to_thread(change, 50.0)
        profit(world, -61, 2)
        await eventually(lambda: told(world) == 1, 5.0)
    [alert] = [row for row in world.alerts() if row["rule"] == "perdida"]
    found: dict[str, Any] = alert["event_data"]
    assert found["order_id"] == 2
