"""A batch that is too much at once, values that alert_db refuses, and a table that begins anew."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import pytest
import zstandard

from src.core.event import Event
from src.plugins.alert_manager import pipeline, read_loop
from src.plugins.alert_manager.domain.holes import Position
from src.plugins.alert_manager.domain.model import Fetched
from src.plugins.alert_manager.utils.eventos import EventosReader
from tests.plugins.conftest import BROKEN, World, eventually
from tests.plugins.payloads import event


def plugins(world: World) -> list[str]:
    return [alert["event_data"]["plugin"] for alert in world.alerts()]


@pytest.mark.long
async def test_rows_that_unpack_to_much_do_not_hold_up_the_first_alerts(world: World) -> None:
    compress = zstandard.ZstdCompressor().compress
    for i in range(60):
        world.write("alertas", compress(event(f"p{i}", texto="x" * 900_000)))
    async with world.running():
        await eventually(lambda: world.alerts(), 10.0)
        await eventually(lambda: len(world.alerts()) == 60, 60.0)
    # Committed part by part, not all at the end.
    assert world.alert("SELECT max(version) FROM reader_positions")[0][0] > 5
    assert plugins(world) == [f"p{i}" for i in range(60)]


async def test_who_is_behind_does_not_rest(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read_loop, "_MANY", 20)
    monkeypatch.setattr(read_loop, "_REST_FOR", 1e9)
    monkeypatch.setattr(read_loop, "_BREATH", 30.0)
    monkeypatch.setattr(pipeline, "_MAX_BATCHES", 2)
    world.config["config"]["reader"] = {"start_from": "beginning", "batch_size": 10}
    for i in range(95):
        world.write("alertas", event(f"p{i}"))
    async with world.running():
        await eventually(lambda: len(world.alerts()) == 95, 20.0)


async def test_a_slow_alert_db_gets_smaller_batches(world: World) -> None:
    async with world.running():
        pass
    world.alert(
        "CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END $$;"
        " CREATE TRIGGER slowly BEFORE INSERT ON alerts FOR EACH ROW EXECUTE FUNCTION slowly()"
    )
    for i in range(150):
        world.write("alertas", event(f"p{i}"))
    dsn = f"{world.alert_dsn}&options=-c%20statement_timeout%3D400"
    async with world.running(config={**world.config, "db_config": {"dsn": dsn}}):
        await eventually(lambda: len(world.alerts()) == 150)
    assert plugins(world) == [f"p{i}" for i in range(150)]
    assert {alert["occurrences"] for alert in world.alerts()} == {1}


async def test_what_alert_db_refuses_is_a_dead_letter_and_the_rest_is_stored(world: World) -> None:
    async with world.running() as processor:
        world.alert("ALTER TABLE alerts ADD CHECK (event_data ->> 'plugin' <> 'no')")
        for name in ("a", "no", "b"):
            world.write("alertas", event(name))
        await eventually(lambda: plugins(world) == ["a", "b"])
        await processor.manejar_evento(Event("alertas", {"tipo": "t", "plugin": "no"}))
        dead = world.alert("SELECT source, reason FROM dead_letters ORDER BY id")
    assert [source for source, _ in dead] == ["eventos", "push"]
    assert all("alert_db no lo admite" in reason for _, reason in dead)


async def test_what_alert_db_refuses_together_is_tried_one_by_one(world: World) -> None:
    async with world.running():
        refused = "ALTER TABLE rule_states ADD CHECK (state::text NOT LIKE '%%66.5%%')"
        world.alert(refused)
        for symbol, price in (("A", 1.5), ("B", 66.5), ("C", 2.5)):
            data = {"symbol": symbol, "price": price}
            world.write("market_data", json.dumps(data).encode())
        world.write("alertas", event("after"))
        await eventually(lambda: plugins(world) == ["after"])
        kept = world.alert("SELECT count(*) FROM rule_states WHERE rule = 'caida_de_precio'")
        dead = world.alert("SELECT event_id, reason FROM dead_letters")
    assert kept == [(2,)]
    assert [event_id for event_id, _ in dead] == [2]
    assert "alert_db no lo admite" in dead[0][1]


async def test_an_event_that_is_stored_already_is_no_dead_letter(world: World) -> None:
    world.config["alert_config"]["dedupe"]["window"] = 0
    world.write("alertas", event("a"))
    async with world.running():
        await eventually(lambda: plugins(world) == ["a"])
    world.alert(
        "UPDATE reader_positions SET version = version + 1,"
        """ position = position || '{"hi": 0, "mark": null}'"""
    )
    async with world.running():
        world.write("alertas", event("b"))
        await eventually(lambda: plugins(world) == ["a", "b"])
    assert world.alert("SELECT count(*) FROM dead_letters") == [(0,)]


@pytest.mark.parametrize("restart", ["RESTART IDENTITY", "CONTINUE IDENTITY"])
async def test_a_table_that_was_emptied_is_read_anew_and_people_are_told(
    world: World, restart: str
) -> None:
    for name in ("a", "b", "c"):
        world.write("alertas", event(name))
    async with world.running():
        await eventually(lambda: plugins(world) == ["a", "b", "c"])
        world.corec(f"TRUNCATE eventos {restart}")
        world.write("alertas", event("d"))
        world.write("alertas", event("e"))
        await eventually(lambda: {"d", "e", "alert_manager"} <= set(plugins(world)))
        world.write("alertas", event("f"))
        await eventually(lambda: "f" in plugins(world))
    # How many rows are read twice depends on when the truncation is noticed: none is a new alert.
    told = [alert for alert in world.alerts() if alert["rule"] != "origen_vaciado"]
    assert [alert["event_data"]["plugin"] for alert in told] == ["a", "b", "c", "d", "e", "f"]
    alarms = [alert for alert in world.alerts() if alert["rule"] == "origen_vaciado"]
    assert [alarm["severity"] for alarm in alarms] == ["alta"]
    sent = "SELECT count(*) FROM notifications WHERE alert_id = %s"
    assert world.alert(sent, (alarms[0]["id"],)) != [(0,)]


async def test_a_table_that_began_anew_unseen_and_passed_the_old_ids_loses_nothing(
    world: World,
) -> None:
    for name in ("a", "b", "c"):
        world.write("alertas", event(name))
    async with world.running():
        await eventually(lambda: plugins(world) == ["a", "b", "c"])
    world.corec("TRUNCATE eventos RESTART IDENTITY")
    names = [f"n{i}" for i in range(30)]
    for name in names:
        world.write("alertas", event(name))
    async with world.running():
        await eventually(lambda: set(names) <= set(plugins(world)))
    assert sorted(plugins(world)) == sorted(["a", "b", "c", "alert_manager", *names])


async def test_a_table_that_was_restored_repeats_nothing_that_was_told(world: World) -> None:
    old = time.time() - 10_000
    world.config["config"]["reader"]["start_from"] = "beginning"
    for i in range(4):
        world.write("alertas", event(f"p{i}"), old + i)
    async with world.running():
        await eventually(lambda: len(plugins(world)) == 4)
        world.corec("DELETE FROM eventos WHERE id > 2")
        await eventually(lambda: "alert_manager" in plugins(world))
        world.write("alertas", event("new"))
        await eventually(lambda: "new" in plugins(world))
    assert sorted(plugins(world)) == ["alert_manager", "new", "p0", "p1", "p2", "p3"]
    assert {alert["occurrences"] for alert in world.alerts()} == {1}


async def test_old_events_are_stored_and_told_in_one_digest(world: World) -> None:
    old = time.time() - 3 * 24 * 3600
    world.config["config"]["reader"].update(start_from="beginning", batch_size=10)
    mail = {"enabled": True, "smtp_server": "127.0.0.1", "smtp_port": 1, "tls": "none"}
    mail |= {"sender": "a@example.com", "recipient": "b@example.com"}
    world.config["notification_config"]["email"] = mail  # nobody answers: its messages wait
    world.config["config"]["circuit_breaker"] = {"max_failures": 1000}  # and nothing is told of it
    for i in range(35):
        world.write("alertas", event(f"p{i}"), old + i)
    breaker = json.dumps({"tipo": "circuit_breaker_tripped", "plugin": "x"}).encode()
    world.write("alertas", breaker, old)
    world.write("alertas", event("fresh"))
    async with world.running():
        await eventually(lambda: len(world.alerts()) == 38)
        digests = [a for a in world.alerts() if a["rule"] == "eventos_antiguos"]
        assert [(d["severity"], d["event_data"]["total"]) for d in digests] == [("critica", 36)]
        assert "1 de severidad crítica, 35 de severidad media" in digests[0]["message"]
    async with world.running():
        world.write("alertas", event("after a restart"))
        await eventually(lambda: len(world.alerts()) == 39)
    mailed = world.alert(
        "SELECT title FROM alerts AS a JOIN notifications AS n ON n.alert_id = a.id"
        " WHERE n.channel = 'email' ORDER BY a.id"
    )
    told = [title for (title,) in mailed]
    assert sorted(told) == [
        "36 eventos antiguos con alerta, sin aviso uno por uno",
        "Aviso de after a restart: t",
        "Aviso de fresh: t",
    ]
    assert world.alert("SELECT count(*) FROM notifications WHERE channel = 'log'") == [(39,)]


async def test_old_events_are_told_while_writers_are_busy(world: World) -> None:
    world.config["config"]["reader"]["start_from"] = "beginning"
    world.write("alertas", event("old"), time.time() - 3 * 24 * 3600)
    stop = threading.Event()

    def write() -> None:
        while not stop.is_set():
            world.write("otro_canal", b"{}")

    writers = [threading.Thread(target=write) for _ in range(3)]
    for writer in writers:
        writer.start()
    try:
        async with world.running():
            await eventually(lambda: "eventos_antiguos" in {a["rule"] for a in world.alerts()})
    finally:
        stop.set()
        for writer in writers:
            writer.join()


async def test_rows_without_a_time_belong_to_what_comes_after_them(world: World) -> None:
    world.write("alertas", event("a"))
    async with world.running():
        await eventually(lambda: plugins(world) == ["a"])
        world.corec("TRUNCATE eventos RESTART IDENTITY")
        insert = "INSERT INTO eventos (canal, datos, timestamp) VALUES ('alertas', %s, %s)"
        for name, stamp in (("b", None), ("c", float("nan")), ("d", time.time())):
            world.corec(insert, (event(name), stamp))
        await eventually(lambda: {"b", "c", "d"} <= set(plugins(world)))


async def test_a_fault_that_nobody_foresaw_ends_no_reading_and_is_not_quoted(
    world: World, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(read_loop, "TELL_AFTER", 0.1)  # telling fails in the same way
    async with world.running() as processor:
        world.write("alertas", event("a"))
        await eventually(lambda: plugins(world) == ["a"])
        world.alert(BROKEN)
        world.write("alertas", event("b"))
        await eventually(lambda: world.alert("SELECT last_value FROM tries")[0][0] > 5)
        assert not (await processor.salud()).parts["lector"].ok
        world.alert("DROP TRIGGER broken ON alerts")
        await eventually(lambda: "b" in plugins(world))
    assert "no-se-dice" not in caplog.text


async def test_ids_that_lie_behind_their_rows_stop_the_reading_and_lose_nothing(
    world: World,
) -> None:
    """As after a restore of the rows alone: the next ids are taken."""
    async with world.running() as processor:
        for name in ("a", "b", "c"):
            world.write("alertas", event(name))
        await eventually(lambda: plugins(world) == ["a", "b", "c"])
        world.alert("SELECT setval('alerts_id_seq', 1, false)")
        world.write("alertas", event("d"))

        def trouble() -> str:
            return processor._running.get().eventos.part().detail

        await eventually(lambda: "alerts_pkey" in trouble())
        world.alert("SELECT setval('alerts_id_seq', 100)")
        await eventually(lambda: plugins(world) == ["a", "b", "c", "d"])
    assert world.alert("SELECT count(*) FROM dead_letters") == [(0,)]


async def test_an_idle_reader_does_not_poll(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    polls = 0
    fetch = EventosReader.fetch

    async def counted(reader: EventosReader, position: Position) -> Fetched[Position]:
        nonlocal polls
        polls += 1
        return await fetch(reader, position)

    async with world.running() as processor:
        world.write("alertas", event("a"))
        await eventually(lambda: plugins(world) == ["a"])
        await asyncio.sleep(1.0)  # its report comes by as a row of eventos
        monkeypatch.setattr(EventosReader, "fetch", counted)
        for _ in range(2):
            await asyncio.sleep(2.0)
            await processor.procesar({}, {})  # the entity's tick
        await asyncio.sleep(1.0)
    assert polls <= 8


async def test_a_pushed_event_may_hold_keys_of_any_type(world: World) -> None:
    async with world.running() as processor:
        await processor.manejar_evento(Event("alertas", {"tipo": "t", "by": {1: 2}, "plugin": "a"}))
    assert plugins(world) == ["a"]
