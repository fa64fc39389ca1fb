"""Who reads: the lead after a cut network, a leader that is silent, a table that cannot be read."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import make_dsn, parse_dsn

from src.plugins.alert_manager import place, read_loop
from src.plugins.alert_manager.domain.errors import DatabaseUnavailableError
from src.plugins.alert_manager.metrics import Metrics
from src.plugins.alert_manager.processors import sessions
from src.plugins.alert_manager.processors.alert_processor import AlertProcessor
from src.plugins.alert_manager.settings import ReaderSettings
from src.plugins.alert_manager.utils import pg
from src.plugins.alert_manager.utils.commit import LOCK_CLASS
from src.plugins.alert_manager.utils.db import AlertStore
from src.plugins.alert_manager.utils.eventos import EventosReader
from src.plugins.alert_manager.utils.pg import PgSession
from tests.conftest import CORE_SCHEMA
from tests.plugins.conftest import SCHEMA, World, eventually
from tests.plugins.payloads import event
from tests.support.proxy import postgres_proxy
from tests.support.servers import TestPostgres


def loss(world: World, name: str) -> int:
    return world.write("alertas", event(name))


def told(world: World) -> list[str]:
    return sorted(alert["event_data"]["plugin"] for alert in world.alerts())


async def reader_part(processor: AlertProcessor) -> Any:
    return (await processor.salud()).parts["lector"]


async def test_the_lead_comes_back_after_the_network_was_cut(
    world: World, postgres_server: TestPostgres
) -> None:
    with postgres_proxy(world.alert_dsn) as (cut, parameters):
        session = PgSession("prueba", parameters)
        store = AlertStore(session, "corec1", SCHEMA)
        try:
            await store.prepare()
            assert await store.take_lead("eventos")
            cut.freeze()
            with pytest.raises(DatabaseUnavailableError):
                await session.run(lambda c: c.cursor().execute("SELECT 1"), limit=0.5)
            assert not store.leads("eventos")
            cut.thaw()
            # The server still has the old backend, and with it our lock: nobody told it anything.
            until = time.monotonic() + 5
            while not await store.take_lead("eventos"):
                assert time.monotonic() < until
                await asyncio.sleep(0.05)
            assert store.leads("eventos")
        finally:
            await session.close()


async def test_a_standby_says_when_the_leader_gives_no_sign_of_life(world: World) -> None:
    async with world.running("corec1"):
        pass
    world.alert("UPDATE reader_positions SET updated_at = now() - interval '5 minutes'")
    leader = psycopg2.connect(world.alert_dsn)
    try:
        with leader.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_lock(%s, hashtext('eventos'))", (LOCK_CLASS,))
        async with world.running("corec2") as processor:
            part = await reader_part(processor)
            assert not part.ok
            assert "corec1 tiene el turno de lectura y no lee desde hace 30" in part.detail
            with leader.cursor() as cursor:
                cursor.execute("UPDATE reader_positions SET updated_at = now()")
            leader.commit()
            await processor.procesar({}, {})
            assert (await reader_part(processor)).ok
    finally:
        leader.close()


async def test_a_reader_without_news_gives_signs_of_life(world: World) -> None:
    world.config["config"]["reader"]["tick"] = 0.2
    sign = "SELECT extract(epoch FROM updated_at) FROM reader_positions"
    async with world.running():
        before = world.alert(sign)
        await eventually(lambda: world.alert(sign) > before, 15.0)


@pytest.mark.long
async def test_who_cannot_read_leaves_the_lead_to_who_can(world: World) -> None:
    away = {**parse_dsn(world.corec_dsn), "dbname": "no_such_database"}
    blind = AlertProcessor({**world.config, "db_config": {"dsn": world.alert_dsn}}, None, away)

    starting = asyncio.create_task(blind.inicializar(SimpleNamespace(instance_id="corec1")))
    try:
        async with world.running("corec2"):
            loss(world, "a")
            await eventually(lambda: told(world) == ["a"])
    finally:
        await starting
        await blind.detener()


async def test_it_starts_without_the_table_and_reads_when_it_comes(world: World) -> None:
    world.corec("ALTER TABLE eventos RENAME TO later")
    async with world.running() as processor:
        part = await reader_part(processor)
        assert not part.ok
        assert "eventos" in part.detail
        world.corec("ALTER TABLE later RENAME TO eventos")
        loss(world, "a")
        await eventually(lambda: told(world) == ["a"])


@pytest.mark.long
async def test_a_silent_alert_db_delays_neither_start_nor_health_nor_stop(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgres_proxy(world.alert_dsn) as (cut, parameters):
        cut.freeze()
        monkeypatch.setenv("ALERT_DB_DSN", make_dsn(**parameters))
        processor = AlertProcessor(world.config, None, parse_dsn(world.corec_dsn))

        begun = time.monotonic()
        await processor.inicializar(SimpleNamespace(instance_id="corec1"))
        assert time.monotonic() - begun < 11.0
        begun = time.monotonic()
        reports = await asyncio.gather(*(processor.salud() for _ in range(5)))
        assert time.monotonic() - begun < pg.PROBE_TIMEOUT + 1.0
        assert not reports[0].parts["alert_db"].ok
        assert reports[0].parts["corec_db"].ok
        begun = time.monotonic()
        await processor.detener()
        assert time.monotonic() - begun < 8.0


@pytest.mark.long
async def test_people_are_told_when_eventos_stays_unread_and_when_it_is_read_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_loop, "TELL_AFTER", 1.0)

    def outages() -> list[tuple[Any, ...]]:
        return [
            (a["severity"], a["occurrences"], a["status"])
            for a in world.alerts()
            if a["rule"] == "lectura_detenida"
        ]

    begun, over = ("critica", 1, "abierta"), ("critica", 1, "resuelta")
    async with world.running():
        loss(world, "a")
        await eventually(lambda: told(world) == ["a"])
        world.corec("ALTER TABLE eventos RENAME TO later")
        await eventually(lambda: outages() == [begun])
        await asyncio.sleep(2.5)  # told once, not at each try
        world.corec("ALTER TABLE later RENAME TO eventos")
        loss(world, "b")
        await eventually(lambda: outages() == [over])
        world.corec("ALTER TABLE eventos RENAME TO later")  # each outage is told
        await eventually(lambda: outages() == [over, begun])
    async with world.running():  # and ends, also by another run than the one that told of it
        world.corec("ALTER TABLE later RENAME TO eventos")
        await eventually(lambda: outages() == [over, over])
    [message, _] = [a["message"] for a in world.alerts() if a["rule"] == "lectura_detenida"]
    assert "eventos" in message


async def test_a_standby_of_corec_db_is_refused_with_the_reason(
    world: World, server_root: Path
) -> None:
    server = TestPostgres(server_root / "standby")
    server.root.mkdir()
    server.start()
    try:
        dsn = server.create_database("corec", owner="corec_user")
        server.apply(dsn, CORE_SCHEMA)
        await asyncio.to_thread(server.stop)
        (server.root / "data" / "standby.signal").touch(mode=0o600)
        shutil.chown(server.root / "data" / "standby.signal", (server.root / "data").owner())
        await asyncio.to_thread(server.start)
        world.corec_dsn = dsn
        async with world.running() as processor:
            part = await reader_part(processor)
            assert not part.ok
            assert "réplica" in part.detail
            assert "COREC_DB_DSN" in part.detail
    finally:
        await asyncio.to_thread(server.stop, "immediate")


async def test_a_sequence_that_hands_out_blocks_is_warned_about(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.corec("ALTER SEQUENCE eventos_id_seq CACHE 20")
    async with world.running():
        loss(world, "a")
        await eventually(lambda: told(world) == ["a"])
    assert "reparte bloques de 20 ids" in caplog.text


async def test_a_leader_that_is_frozen_loses_the_lead(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its kernel answers for it, so that no network timeout ends its session: the server does."""
    monkeypatch.setattr(sessions, "LEAD_IDLE_LIMIT", 1.0)
    world.config["config"]["reader"]["tick"] = 0.1
    frozen = PgSession("almacen", parse_dsn(world.alert_dsn), idle_limit=1.0)
    store = AlertStore(frozen, "corec1", SCHEMA)
    try:
        await store.prepare()
        assert await store.take_lead("eventos")
        async with world.running("corec2"):
            loss(world, "a")
            await eventually(lambda: told(world) == ["a"])
    finally:
        await frozen.close()


async def test_a_standby_is_not_without_alert_db_because_a_commit_of_it_failed_once(
    world: World,
) -> None:
    async with world.running("one"), world.running("two") as standby:
        parts = standby._running.get()
        await eventually(
            lambda: all(loop.part().detail.startswith("en espera") for loop in parts.loops)
        )
        parts.recorder.storing.failing_since = time.monotonic() - 60.0
        await asyncio.sleep(2.0)
        assert not parts.degraded.away


async def test_a_standby_that_slept_while_alert_db_was_away_lets_who_read_go_first(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session failed for another source, and was opened again: the place saw nothing of it."""
    monkeypatch.setattr(place, "COURTESY", 600.0)
    reading = PgSession("lector", parse_dsn(world.corec_dsn), autocommit=True)
    reader = EventosReader(reading, ["alertas"], 1 << 20, ReaderSettings(), Metrics())
    storing = [PgSession("almacen", parse_dsn(world.alert_dsn)) for _ in range(2)]
    names = ("corec1", "corec2")
    stores = [AlertStore(*of, SCHEMA) for of in zip(storing, names, strict=True)]
    leader, standby = (place.Place(reader, store) for store in stores)
    try:
        assert (await leader.hold(), await standby.hold()) == (True, False)
        world.alert(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        for store in stores:
            with pytest.raises(DatabaseUnavailableError):
                await store.load_silences()
        await stores[1].load_silences()  # its session is there again, and the lead is free
        assert not await standby.hold()
        assert await leader.hold()
        await leader.leave()
        monkeypatch.setattr(place, "COURTESY", 0.0)  # it is over
        assert await standby.hold()
    finally:
        await asyncio.gather(reading.close(), *(session.close() for session in storing))
        reader.close()
