"""Acceptance: events go into `eventos`, and this looks at what arrives."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio as redis
import zstandard

from src.core.event import Event
from src.plugins.alert_manager.domain.model import RawEvent, Severity
from src.plugins.alert_manager.judge import BatchJudge
from tests.plugins.conftest import World, eventually, shipped
from tests.plugins.payloads import ENCODINGS, SPEC_INNER, SPEC_MACRO, shell_wrapped, to_json

EVENTS = [
    json.loads(line)
    for line in (Path(__file__).parent / "data" / "events.jsonl").read_text().splitlines()
]
SPEC_EVENTS = [
    ("alertas", shell_wrapped(SPEC_INNER["alertas"]), "critica"),
    ("trading_results", shell_wrapped(SPEC_INNER["trading_results"]), "alta"),
    ("capital_data", shell_wrapped(SPEC_INNER["capital_data"]), "alta"),
    ("macro_data", SPEC_MACRO, "alta"),
    ("settlement_data", shell_wrapped(SPEC_INNER["settlement_data"]), "alta"),
]


def judged_severity(canal: str, payload: Any) -> str | None:
    judge = BatchJudge(shipped())
    raw = RawEvent("eventos", 1, canal, payload, 1_750_000_000.0, "corec1", 0)
    judged = judge.track(judge.judge([raw], now=1_750_000_000.0), {})
    assert judged.dead_letters == ()
    severities = [c.severity for c in judged.candidates]
    return max(severities).key if severities else None


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("event", EVENTS, ids=lambda e: f"{e['canal']}-{e['severity']}")
def test_the_shipped_rules_give_each_event_its_severity(
    event: dict[str, Any], encoding: str
) -> None:
    payload = ENCODINGS[encoding](event["payload"])
    assert judged_severity(event["canal"], payload) == event["severity"]


@pytest.mark.parametrize("column", ["bytea", "text"])
async def test_the_five_events_of_the_spec_become_five_alerts(world: World, column: str) -> None:
    if column == "text":
        world.corec("ALTER TABLE eventos ALTER datos TYPE text USING encode(datos, 'escape')")
    async with world.running():
        for canal, datos, _ in SPEC_EVENTS:
            world.write(canal, datos)
        alerts = await eventually(lambda: len(found := world.alerts()) == 5 and found, 2.0)
    assert [(a["channel"], a["severity"]) for a in alerts] == [
        (canal, severity) for canal, _, severity in SPEC_EVENTS
    ]
    assert "trading_execution" in alerts[0]["message"]
    assert "$150.00" in alerts[1]["message"]
    assert all(a["message"] and a["title"] and a["status"] == "abierta" for a in alerts)


async def test_without_the_wake_up_trigger_the_tick_is_enough(world: World) -> None:
    world.corec("DROP TRIGGER corec_avisar_eventos ON eventos")
    async with world.running():
        for canal, datos, _ in SPEC_EVENTS:
            world.write(canal, datos)
        await eventually(lambda: len(world.alerts()) == 5, 6.0)


async def test_the_same_event_twice_is_one_alert_that_counts_two(world: World) -> None:
    canal, datos, _ = SPEC_EVENTS[1]
    async with world.running():
        world.write(canal, datos)
        world.write(canal, datos)
        await eventually(lambda: [a["occurrences"] for a in world.alerts()] == [2])
    async with world.running():
        world.write(canal, datos)
        await eventually(lambda: [a["occurrences"] for a in world.alerts()] == [3])
    told = world.alert("SELECT channel, count(*) FROM notifications GROUP BY 1 ORDER BY 1")
    assert told == [("alert_data", 1), ("alert_data_stream", 1), ("log", 1)]


async def test_orders_whose_numbers_look_like_cards_are_still_two_alerts(world: World) -> None:
    async with world.running():
        for order in (4111110000000104, 4111110000000112):
            world.write("alertas", to_json({"tipo": "raro", "plugin": "x", "orden": order}))
        alerts = await eventually(lambda: len(found := world.alerts()) == 2 and found)
    orders = [alert["event_data"]["orden"] for alert in alerts]
    assert orders == ["[oculto 411111…0104]", "[oculto 411111…0112]"]


async def test_the_oldest_supported_redis_does_all_that_is_asked_of_it(
    world: World, redis_floor_url: str
) -> None:
    world.redis_url = redis_floor_url
    canal, datos, _ = SPEC_EVENTS[0]
    async with world.running(), redis.from_url(redis_floor_url) as client:
        world.write(canal, datos)
        await eventually(lambda: len(world.alerts()) == 1)
        streams: Any = await client.xread({"alert_data": "0"}, block=5000)
        assert len(streams[0][1]) == 1
        assert len(await client.keys("alert_manager:dedupe:*")) == 1
        world.write(canal, datos)
        await eventually(lambda: [a["occurrences"] for a in world.alerts()] == [2])


async def test_a_repeat_after_the_window_is_a_new_alert(world: World) -> None:
    canal, datos, _ = SPEC_EVENTS[1]
    first = time.time() - 8000
    async with world.running():
        for seconds in (0, 3599, 3600):
            world.write(canal, datos, first + seconds)
        alerts = await eventually(lambda: len(found := world.alerts()) == 2 and found)
    assert [a["occurrences"] for a in alerts] == [2, 1]


async def test_the_log_tells_each_alert_once(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "corec.alertas")
    async with world.running():
        for canal, datos, _ in SPEC_EVENTS:
            world.write(canal, datos)
        await eventually(
            lambda: (
                len(world.alerts()) == 5  # first: before it is committed nothing is pending, either
                and world.alert("SELECT count(*) FROM notifications WHERE status = 'pending'")
                == [(0,)]
            )
        )
    lines = [r.getMessage() for r in caplog.records if r.name == "corec.alertas"]
    assert len(lines) == 5
    assert "CRÍTICA" in lines[0]


async def test_the_report_arrives_in_eventos_and_on_the_stream(world: World) -> None:
    async with world.running():
        world.write(*SPEC_EVENTS[0][:2])
        rows = await eventually(
            lambda: world.corec("SELECT datos FROM eventos WHERE canal = 'alert_data'")
        )
        async with redis.from_url(world.redis_url) as client:
            streams: Any = await client.xread({"alert_data": "0"}, block=5000)
    [(_, [(_, fields)])] = streams
    for payload in (bytes(rows[0][0]), fields[b"data"]):
        report = json.loads(zstandard.ZstdDecompressor().decompress(payload))
        assert report["id"] == 1
        assert report["severity"] == "critica"
        assert report["channel"] == "alertas"
        assert report["event_data"]["plugin"] == "trading_execution"
    assert len(rows) == 1


async def test_entity_mirror_and_reader_together_store_each_event_once(world: World) -> None:
    async with world.running() as processor:
        for i in range(1000):
            world.write("trading_results", to_json({"profit": -200 - i, "symbol": "BTC/USDT"}))
            if i % 50 == 0:
                context = {"tipo": "micro", "canal": "alert_data"}
                await asyncio.gather(*(processor.procesar({}, context) for _ in range(2)))
        await asyncio.gather(*(processor.procesar({}, {}) for _ in range(4)))
    alerts = world.alerts()
    assert len(alerts) == 1000
    assert {a["occurrences"] for a in alerts} == {1}
    assert len({a["event_id"] for a in alerts}) == 1000


async def test_an_undecodable_payload_is_a_dead_letter_and_the_next_is_judged(
    world: World,
) -> None:
    async with world.running():
        broken = world.write("alertas", b"\x28\xb5\x2f\xfd basura")
        empty = world.write("alertas", b"")
        world.write(*SPEC_EVENTS[0][:2])
        await eventually(lambda: len(world.alerts()) == 1)
    letters = world.alert("SELECT event_id, channel, reason FROM dead_letters ORDER BY id")
    assert [(i, c) for i, c, _ in letters] == [(broken, "alertas"), (empty, "alertas")]
    assert "zstd" in letters[0][2]
    assert letters[1][2]


async def test_stop_and_start_repeats_and_forgets_nothing(world: World) -> None:
    async with world.running():
        world.write(*SPEC_EVENTS[0][:2])
        await eventually(lambda: len(world.alerts()) == 1)
    world.write(*SPEC_EVENTS[1][:2])
    async with world.running():
        world.write(*SPEC_EVENTS[2][:2])
        await eventually(lambda: len(world.alerts()) == 3)
        await eventually(
            lambda: (
                world.alert("SELECT count(*) FROM notifications WHERE status = 'sent'") == [(9,)]
            )
        )
    assert [a["occurrences"] for a in world.alerts()] == [1, 1, 1]
    reports = world.corec("SELECT count(*) FROM eventos WHERE canal = 'alert_data'")
    assert reports == [(3,)]


async def test_an_event_from_the_hosts_hand_is_judged_without_polling(world: World) -> None:
    async with world.running() as processor:
        await processor.manejar_evento(
            Event("alertas", {"tipo": "api_error", "plugin": "exchange_sync"}, "alert_manager")
        )
        compressed = zstandard.ZstdCompressor().compress(to_json({"vix_price": 45}))
        await processor.manejar_evento(Event("macro_data", {"data": compressed}, "alert_manager"))
    assert [(a["severity"], a["source"]) for a in world.alerts()] == [
        ("alta", "push"),
        ("critica", "push"),
    ]


async def test_events_handed_over_at_once_are_all_counted(world: World) -> None:
    async with world.running() as processor:
        await processor.procesar({}, {})
        events = [Event("alertas", {"tipo": "t", "plugin": f"p{i}"}) for i in range(30)]
        await asyncio.gather(*map(processor.manejar_evento, events))
        summary = await processor.procesar({}, {})
    assert summary["alerts"] == 30
    assert summary["events"] >= 30  # our own reports are read, too


@pytest.mark.long
async def test_events_that_several_drain_at_once_are_all_counted(world: World) -> None:
    world.config["config"]["reader"] = {"start_from": "beginning", "batch_size": 20}
    for number in range(400):
        world.write("otro_canal", b'{"n": %d}' % number)
    async with world.running() as processor:
        told = await asyncio.gather(*(processor.procesar({}, {}) for _ in range(4)))
        told.append(await processor.procesar({}, {}))
    assert sum(summary["events"] for summary in told) == 400


async def test_passwords_never_reach_alert_db(world: World) -> None:
    register = next(e for e in EVENTS if e["payload"].get("role") == "admin")
    async with world.running():
        world.write("user_data", to_json(register["payload"]))
        [alert] = await eventually(world.alerts)
        rows = await eventually(
            lambda: world.corec("SELECT datos FROM eventos WHERE canal = 'alert_data'")
        )
    assert alert["event_data"]["password"] == "[oculto]"
    assert "hunter2" not in str(alert)
    assert b"hunter2" not in zstandard.ZstdDecompressor().decompress(bytes(rows[0][0]))


async def test_what_jsonb_refuses_is_stored_all_the_same(world: World) -> None:
    payload = b'{"tipo": "raro", "plugin": "a\\u0000b", "x": "\\ud800", "n": 1e400, "m": NaN}'
    async with world.running():
        world.write("alertas", payload)
        [alert] = await eventually(world.alerts)
    assert alert["severity"] == Severity.MEDIA.key
    assert alert["event_data"]["n"] == "inf"


async def test_an_old_alerts_table_is_upgraded_in_place(world: World) -> None:
    world.alert(
        "CREATE TABLE alerts (id serial PRIMARY KEY, severity varchar(20), message text,"
        " channel varchar(50), event_data jsonb, timestamp double precision)"
    )
    world.alert("INSERT INTO alerts VALUES (DEFAULT, 'alta', 'vieja', 'alertas', '{}', 1.0)")
    async with world.running():
        world.write(*SPEC_EVENTS[0][:2])
        await eventually(lambda: len(world.alerts()) == 2)
    first, second = world.alerts()
    assert (first["message"], first["occurrences"], second["id"]) == ("vieja", 1, 2)
    assert list(second)[:6] == [
        "id", "severity", "message", "channel", "event_data", "timestamp",
    ]  # fmt: skip
