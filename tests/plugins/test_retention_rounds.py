"""The rounds of the retention: beside others, killed, cut off, one at a time, and for real."""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import closing

import psycopg2
import pytest

from src.plugins.alert_manager import retention
from src.plugins.alert_manager.domain.errors import NotNowError
from src.plugins.alert_manager.domain.gentle import AT_ONCE, Piece
from src.plugins.alert_manager.metrics import Metrics
from src.plugins.alert_manager.retention import Retention
from src.plugins.alert_manager.retention_settings import DAY
from tests.plugins.conftest import PROJECT, World, eventually
from tests.plugins.payloads import event
from tests.plugins.test_retention import alert, alert_db, count, numbers, sweep, sweeper

__all__ = ["alert_db"]


async def test_an_open_critical_alert_is_named_once_until_there_are_more(
    alert_db: World, caplog: pytest.LogCaptureFixture
) -> None:
    alert(alert_db, severity="critica")
    async with sweeper(alert_db) as old:
        task = Retention(old, Metrics())
        for _ in range(2):
            await task.round(old)
        assert caplog.text.count("1 alertas críticas siguen abiertas") == 1
        alert(alert_db, severity="critica")
        await task.round(old)
    assert "2 alertas críticas siguen abiertas" in caplog.text


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE alerts SET last_seen = extract(epoch FROM now()) WHERE id = {}",
        "INSERT INTO notifications (alert_id, channel, severity) VALUES ({}, 'discord', 3)",
        "UPDATE notifications SET status = 'pending' WHERE alert_id = {}",
    ],
)
async def test_whoever_has_an_alert_in_hand_keeps_it_and_is_not_waited_for(
    alert_db: World, change: str
) -> None:
    held, free = alert(alert_db, told="dead"), alert(alert_db)
    with closing(psycopg2.connect(alert_db.alert_dsn)) as other:
        other.cursor().execute(change.format(held))
        begun = time.monotonic()
        assert (await sweep(alert_db))["alerts"] == 1
        assert time.monotonic() - begun < 3
        assert numbers(alert_db) == [held]
        other.commit()
    assert await sweep(alert_db) == {}
    assert free not in numbers(alert_db)


async def test_one_instance_at_a_time(alert_db: World) -> None:
    alert(alert_db)
    async with sweeper(alert_db) as first, sweeper(alert_db) as second:
        assert await first.take_turn()
        assert await Retention(second, Metrics()).round(second) == {}
        await first.give_turn_back()
        assert (await Retention(second, Metrics()).round(second))["alerts"] == 1


async def test_a_round_whose_connection_was_cut_ends_and_gives_way(alert_db: World) -> None:
    alert(alert_db)
    async with sweeper(alert_db) as cut, sweeper(alert_db) as other:
        assert await cut.take_turn()
        alert_db.alert(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid()"
            " AND application_name = 'alert_manager/limpieza' AND datname = current_database()"
        )
        with pytest.raises(NotNowError):
            await cut.sweep(10)
        assert await other.take_turn()
        with pytest.raises(NotNowError, match="se cortó"):
            await cut.sweep(10)
        await cut.give_turn_back()  # it is not ours to give any more
        await other.sweep(10)


ROUND = """
import asyncio, sys
from psycopg2.extensions import parse_dsn
from src.plugins.alert_manager.metrics import Metrics
from src.plugins.alert_manager.retention import Retention
from src.plugins.alert_manager.utils.old_rows import OldRows
from src.plugins.alert_manager.utils.pg import PgSession
old = OldRows(PgSession("limpieza", parse_dsn(sys.argv[1])), 180 * 86400.0, [])
asyncio.run(Retention(old, Metrics()).round(old))
"""


@pytest.mark.long
async def test_killed_in_the_middle_it_leaves_nothing_half_deleted(alert_db: World) -> None:
    alert_db.alert(
        "INSERT INTO alerts (severity, message, channel, timestamp, created_at)"
        " SELECT 'alta', 'm', 'alertas', 1, now() - interval '200 days'"
        " FROM generate_series(1, 6000)"
    )
    alert_db.alert(
        "INSERT INTO notifications (alert_id, channel, severity, status)"
        " SELECT id, c.name, 3, 'sent' FROM alerts, (VALUES ('log'), ('email')) AS c (name)"
    )
    command = (sys.executable, "-c", ROUND, alert_db.alert_dsn)
    process = await asyncio.create_subprocess_exec(*command, cwd=PROJECT)
    try:
        await eventually(lambda: count(alert_db, "alerts") < 5_900)
    finally:
        process.kill()
        await process.wait()
    left = count(alert_db, "alerts")
    assert 0 < left < 5_900
    assert count(alert_db, "notifications") == 2 * left
    # Its turn went with it, as soon as the server notices.
    async with sweeper(alert_db) as old:
        turns = (
            "SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND objid = 2"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        )
        await eventually(lambda: not alert_db.alert(turns))
        assert await old.take_turn()
        await old.give_turn_back()
        assert (await Retention(old, Metrics()).round(old))["alerts"] == left
    assert count(alert_db, "notifications") == 0


async def test_commits_go_on_beside_it_and_a_replay_of_what_went_is_stored_anew(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "FIRST", 0.0)
    monkeypatch.setattr(retention, "INTERVAL", 0.1)
    world.config["config"]["reader"] = {"start_from": "beginning", "max_event_age": "1d"}
    old = time.time() - 200 * DAY
    world.write("alertas", event("vieja"), timestamp=old)
    async with world.running() as processor:
        await eventually(lambda: any(a["rule"] == "otro_aviso" for a in world.alerts()))
        world.write("alertas", event("nueva"))
        await eventually(lambda: len(world.alerts()) >= 2)
        world.alert(
            "UPDATE alerts SET status = 'reconocida', created_at = now() - interval '190 days'"
            " WHERE timestamp < %s", (old + 1,)
        )  # fmt: skip
        await eventually(
            lambda: not world.alert("SELECT 1 FROM alerts WHERE timestamp < %s", (old + 1,)), 15.0
        )
        text = processor._metrics.text().decode()
        assert 'alert_manager_deleted_rows_total{table="alerts"} 1.0' in text
    # Its row of `eventos` is read once more, by an instance that lost its place.
    assert world.corec("SELECT count(*) FROM eventos WHERE canal = 'alertas'") == [(2,)]
    world.alert("DELETE FROM reader_positions")
    async with world.running():
        await eventually(
            lambda: world.alert("SELECT 1 FROM alerts WHERE timestamp < %s", (old + 1,)), 15.0
        )
        told = world.alert(
            "SELECT n.channel FROM notifications AS n JOIN alerts AS a ON a.id = n.alert_id"
            " WHERE a.timestamp < %s ORDER BY 1", (old + 1,)
        )  # fmt: skip
    assert [row[0] for row in told] == ["alert_data", "alert_data_stream", "log"]
    again = [a for a in world.alerts() if a["rule"] == "otro_aviso"]
    assert len(again) == 2


async def test_switched_off_everything_is_kept(world: World) -> None:
    world.config["config"]["retention"] = "off"
    async with world.running() as processor:
        parts = processor._running.get()
        assert parts.retention._sweeper is None


class Hanging:
    """An alert_db that answers until it sweeps."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()

    async def take_turn(self) -> bool:
        return True

    async def sweep(self, rows: int) -> None:
        self.asked.set()
        await asyncio.sleep(60)

    async def give_turn_back(self) -> None:
        await asyncio.sleep(60)


async def test_a_stop_waits_for_no_alert_db_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retention, "FIRST", 0.0)
    hanging = Hanging()
    task = Retention(hanging, Metrics())
    task.start()
    await hanging.asked.wait()
    begun = time.monotonic()
    await task.stop()
    assert time.monotonic() - begun < 3


def test_pieces_grow_while_they_are_quick_and_shrink_when_they_are_not() -> None:
    piece = Piece()
    for _ in range(20):
        piece = piece.after(AT_ONCE / 10)
    assert piece.rows == 1000
    assert piece.wait == pytest.approx(0.018)
    slow = piece.after(AT_ONCE * 2)
    assert slow.rows == 500
    assert slow.wait == pytest.approx(9 * 2 * AT_ONCE)
    for _ in range(20):
        slow = slow.after(5.0)
    assert slow == Piece(10, 1.0)
    assert Piece(100).after(AT_ONCE * 0.7).rows == 100
