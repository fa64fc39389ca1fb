"""A place that is stored alone, without a commit: whose it is, and what its failure means."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import psycopg2
import pytest

from src.plugins.alert_manager.domain.errors import DatabaseUnavailableError
from src.plugins.alert_manager.domain.model import RawEvent
from src.plugins.alert_manager.domain.outcome import Judged
from src.plugins.alert_manager.processors.assembly import Assembly
from src.plugins.alert_manager.utils.db import AlertStore
from tests.plugins.conftest import World, eventually
from tests.plugins.payloads import event, to_json
from tests.plugins.test_reload import File, file

__all__ = ["file"]

NOTHING = b'{"tipo": "otra", "plugin": "x"}'
GATE = b'{"tipo": "se espera"}'  # comes to nothing, too
PLACE = "SELECT position::text, version FROM reader_positions WHERE source = 'eventos'"
FULL = """
    CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'No space left on device' USING ERRCODE = '53100'; END $$;
    CREATE TRIGGER no_room BEFORE INSERT OR UPDATE ON reader_positions
        FOR EACH ROW EXECUTE FUNCTION no_room();
    CREATE TRIGGER no_room BEFORE INSERT OR UPDATE ON alerts
        FOR EACH ROW EXECUTE FUNCTION no_room()
"""


def counted(world: World) -> dict[str, int]:
    return {row["title"]: row["occurrences"] for row in world.alerts()}


def write_batch(world: World, *events: tuple[str, bytes]) -> None:
    """Writes events that are read together."""
    connection = psycopg2.connect(world.corec_dsn)
    with connection, connection.cursor() as cursor:
        for canal, datos in events:
            cursor.execute(
                "INSERT INTO eventos (canal, datos, timestamp, instance_id)"
                " VALUES (%s, %s, %s, 'x')",
                (canal, psycopg2.Binary(datos), time.time()),
            )
    connection.close()


class Held:
    """Keeps a reader from judging `GATE`, which it takes as a part of a batch by itself."""

    def __init__(self, parts: Assembly, monkeypatch: pytest.MonkeyPatch) -> None:
        self.waiting = False
        self.opened = asyncio.Event()
        self._real = parts.recorder.look_at
        parts.eventos._pipeline._limit = 1
        monkeypatch.setattr(parts.recorder, "look_at", self._look_at)

    async def _look_at(self, events: Sequence[RawEvent]) -> Judged:
        if any(raw.payload == GATE for raw in events):
            self.waiting = True
            await self.opened.wait()
        return await self._real(events)


async def reopen(world: World, parts: Assembly) -> None:
    """The storing session is cut, and somebody else who uses it opens it again."""
    world.alert("SELECT pg_terminate_backend(%s)", (parts.store._leading["eventos"].pid,))
    with pytest.raises(DatabaseUnavailableError):
        await parts.store.load_silences()
    await parts.store.load_silences()


async def test_a_reader_whose_place_is_anothers_stores_nothing_of_the_batch_in_hand(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.config["config"]["reader"]["tick"] = 0.2
    async with world.running("uno") as first, world.running("dos") as second:
        world.write("alertas", event("a"))
        await eventually(lambda: counted(world) == {"Aviso de a: t": 1})
        one, two = first._running.get(), second._running.get()
        if two.eventos.leading:
            one, two = two, one
        await asyncio.sleep(1.5)  # so that the place is due to be stored
        held = Held(one, monkeypatch)
        write_batch(world, ("alert_data", GATE), ("alertas", event("a")))
        await eventually(lambda: held.waiting)
        await reopen(world, one)
        await eventually(lambda: counted(world) == {"Aviso de a: t": 2})
        assert two.eventos.leading
        await asyncio.sleep(1.5)
        held.opened.set()
        await asyncio.sleep(2.0)
    assert counted(world) == {"Aviso de a: t": 2}


async def test_what_alert_db_forgot_is_read_again_in_the_middle_of_a_batch(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.config["config"]["reader"]["tick"] = 0.2
    async with world.running() as processor:
        parts = processor._running.get()
        world.write("alertas", event("a"))
        await eventually(lambda: len(counted(world)) == 1)
        await asyncio.sleep(1.0)
        [place] = world.alert(PLACE)
        world.write("alertas", event("x"))
        await eventually(lambda: len(counted(world)) == 2)
        await asyncio.sleep(1.5)
        held = Held(parts, monkeypatch)
        write_batch(world, ("alert_data", GATE), ("alertas", event("y")))
        await eventually(lambda: held.waiting)
        # As after a crash of a server with synchronous_commit = off: the newest commit is gone.
        world.alert("DELETE FROM alerts WHERE title = 'Aviso de x: t'")
        world.alert(
            "UPDATE reader_positions SET position = %s::jsonb, version = %s"
            " WHERE source = 'eventos'",
            place,
        )
        await reopen(world, parts)
        await asyncio.sleep(1.0)
        held.opened.set()
        await eventually(lambda: {title[9] for title in counted(world)} == {"a", "x", "y"})


async def test_a_commit_whose_answer_was_lost_is_no_outage(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.redis_url = ""  # else our own reports come by a stream, each with a commit
    async with world.running() as processor:
        parts = processor._running.get()
        real = AlertStore.commit
        lost: list[Judged] = []

        async def commit(self: AlertStore, judged: Judged, *rest: Any) -> Any:
            committed = await real(self, judged, *rest)
            if judged.candidates and not lost:
                lost.append(judged)
                raise DatabaseUnavailableError("sin respuesta en 9 s")
            return committed

        monkeypatch.setattr(AlertStore, "commit", commit)
        world.write("alertas", event("b"))
        await eventually(lambda: lost)
        until = time.monotonic() + 8.0
        while time.monotonic() < until:
            world.write("alert_data", NOTHING)
            await asyncio.sleep(0.3)
            assert not parts.degraded.away
        assert (await processor.salud()).parts["alert_db"].ok
    assert counted(world) == {"Aviso de b: t": 1}


async def test_an_alert_db_that_stores_no_place_is_told(world: World) -> None:
    async with world.running() as processor:
        parts = processor._running.get()
        await asyncio.sleep(0.5)
        world.alert(FULL)
        began = time.monotonic()
        while not parts.degraded.away:
            world.write("alert_data", NOTHING)
            await asyncio.sleep(0.2)
            assert time.monotonic() - began < 10.0
        assert not (await processor.salud()).parts["alert_db"].ok


async def test_a_new_configuration_judges_nothing_again(world: World, file: File) -> None:
    async with world.running(config=file.content) as processor:
        parts = processor._running.get()
        loss = to_json({"profit": -60, "symbol": "S", "plugin": "trading_execution"})
        last = world.write("trading_results", loss)
        await eventually(lambda: getattr(parts.eventos._pipeline.position, "hi", 0) == last)
        file.content["alert_config"]["thresholds"]["loss"] = 50
        file.write()
        await eventually(lambda: processor._running.get() is not parts)
        await asyncio.sleep(1.5)
        assert world.alerts() == []
