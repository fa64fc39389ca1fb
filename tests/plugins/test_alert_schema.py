"""schema.sql of alert_db on a running system: it disturbs nobody, and nobody disturbs it."""

from __future__ import annotations

import threading
import time

import psycopg2
import pytest

from src.launcher.errors import LauncherError
from src.launcher.own_database import run_file
from tests.plugins.conftest import SCHEMA, World, eventually
from tests.plugins.payloads import event


def apply(world: World) -> None:
    run_file(world.alert_dsn, SCHEMA, "ALERT_DB_DSN")


async def test_applied_again_it_waits_for_nobody_and_nobody_waits_for_it(world: World) -> None:
    async with world.running():
        world.write("alertas", event("a"))
        await eventually(lambda: len(world.alerts()) == 1)
        reader = psycopg2.connect(world.alert_dsn)
        try:
            reader.cursor().execute("SELECT count(*) FROM alerts")  # a report that takes its time
            started = time.monotonic()
            apply(world)
            assert time.monotonic() - started < 2
            world.write("alertas", event("b"))
            await eventually(lambda: len(world.alerts()) == 2, 5.0)
        finally:
            reader.close()


def test_an_upgrade_that_would_wait_gives_up_and_changes_nothing(world: World) -> None:
    world.alert(
        "CREATE TABLE alerts (id bigserial PRIMARY KEY, severity varchar(20) NOT NULL,"
        " message text NOT NULL, channel varchar(50) NOT NULL, event_data jsonb,"
        " timestamp double precision NOT NULL)"
    )
    reader = psycopg2.connect(world.alert_dsn)
    try:
        reader.cursor().execute("SELECT count(*) FROM alerts")
        started = time.monotonic()
        with pytest.raises(LauncherError, match=r"otra sesión usa las tablas .* pg_stat_activity"):
            apply(world)
        assert time.monotonic() - started < 10
    finally:
        reader.close()
    assert world.alert("SELECT to_regclass('notifications') IS NULL") == [(True,)]
    apply(world)
    assert world.alert("SELECT to_regclass('notifications') IS NULL") == [(False,)]


@pytest.mark.long
async def test_a_start_behind_a_long_report_tries_again(world: World) -> None:
    apply(world)
    world.alert("COMMENT ON TABLE alerts IS NULL")  # as an older version left it
    world.alert("ALTER TABLE rule_states DROP COLUMN deadline")
    reader = psycopg2.connect(world.alert_dsn)
    try:
        reader.cursor().execute("SELECT count(*) FROM alerts")
        async with world.running() as processor:
            health = await processor.salud()
            assert "otra sesión usa las tablas" in str(health.as_json())
            reader.close()
            world.write("alertas", event("a"))
            await eventually(lambda: len(world.alerts()) == 1)
    finally:
        reader.close()


def test_several_that_make_the_tables_at_once_take_turns(world: World) -> None:
    faults: list[Exception] = []

    def first_start() -> None:
        try:
            apply(world)
        except LauncherError as error:
            faults.append(error)

    for _ in range(3):
        world.alert("DROP SCHEMA public CASCADE")
        world.alert("CREATE SCHEMA public")
        threads = [threading.Thread(target=first_start) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert faults == []


@pytest.mark.parametrize("table", ["notifications", "dead_letters", "rule_states"])
def test_a_table_that_is_gone_is_made_again(world: World, table: str) -> None:
    apply(world)
    world.alert(f"DROP TABLE {table} CASCADE")
    apply(world)
    assert world.alert("SELECT to_regclass(%s) IS NULL", (table,)) == [(False,)]
