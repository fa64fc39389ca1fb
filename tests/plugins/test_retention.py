"""What is older than the retention goes from alert_db, gently, and nothing else does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from psycopg2.extensions import parse_dsn

from src.plugins.alert_manager.domain.troubles import LASTING
from src.plugins.alert_manager.metrics import Metrics
from src.plugins.alert_manager.retention import Retention
from src.plugins.alert_manager.retention_settings import DAY
from src.plugins.alert_manager.utils.old_rows import OldRows
from src.plugins.alert_manager.utils.pg import PgSession
from tests.plugins.conftest import SCHEMA, World, eventually
from tests.plugins.payloads import to_json
from tests.support.servers import TestPostgres

KEPT = 180 * DAY


@pytest.fixture
def alert_db(world: World, postgres_server: TestPostgres) -> World:
    postgres_server.apply(world.alert_dsn, SCHEMA)
    return world


@asynccontextmanager
async def sweeper(world: World, *rules: str, days: float = 180) -> AsyncIterator[OldRows]:
    session = PgSession("limpieza", parse_dsn(world.alert_dsn))
    try:
        yield OldRows(session, days * DAY, rules, LASTING)
    finally:
        await session.close()


async def sweep(world: World, *rules: str) -> dict[str, int]:
    """One round; returns how many rows of each table went."""
    async with sweeper(world, *rules) as old:
        return dict(await Retention(old, Metrics()).round(old))


def alert(
    world: World,
    days: float = 200,
    *,
    status: str = "abierta",
    severity: str = "alta",
    told: str | None = "sent",
    seen: float | None = None,
    rule: str = "r",
) -> int:
    """An alert that is so many days old, told by one channel; last seen then, or later."""
    created = f"now() - make_interval(secs => {days * DAY})"
    ((number,),) = world.alert(
        "INSERT INTO alerts (severity, message, channel, timestamp, last_seen, status, rule,"
        f" created_at) VALUES (%s, 'm', 'alertas', extract(epoch FROM {created}),"
        f" extract(epoch FROM now()) - %s, %s, %s, {created}) RETURNING id",
        (severity, (days if seen is None else seen) * DAY, status, rule),
    )
    if told is not None:
        world.alert(
            "WITH n AS (INSERT INTO notifications (alert_id, channel, severity, status)"
            " VALUES (%s, 'email', 3, %s) RETURNING id)"
            " INSERT INTO deliveries (notification_id, attempt, seconds, status)"
            " SELECT id, 1, 0.1, 'sent' FROM n",
            (number, told),
        )
    return int(number)


def numbers(world: World) -> list[int]:
    return [row[0] for row in world.alert("SELECT id FROM alerts ORDER BY id")]


def count(world: World, table: str) -> int:
    return int(world.alert(f"SELECT count(*) FROM {table}")[0][0])


async def test_what_is_over_goes_with_all_that_belongs_to_it(alert_db: World) -> None:
    for status in ("abierta", "reconocida", "resuelta", "silenciada"):
        alert(alert_db, status=status)
    acknowledged = alert(alert_db, severity="critica", status="reconocida")
    alert_db.alert(
        "INSERT INTO alert_history (alert_id, at, action, who)"
        " VALUES (%s, now() - interval '190 days', 'reconocida', 'ana')",
        (acknowledged,),
    )
    young = alert(alert_db, 179)
    gone = await sweep(alert_db)
    assert gone == {"alerts": 5, "notifications": 5, "deliveries": 5, "alert_history": 1}
    assert numbers(alert_db) == [young]
    assert count(alert_db, "deliveries") == 1
    assert await sweep(alert_db) == {}


async def test_what_still_matters_stays_however_old(alert_db: World) -> None:
    kept = {
        "nobody minded it": alert(alert_db, severity="critica"),
        "it is still to be told": alert(alert_db, told="pending"),
        "it was seen last week": alert(alert_db, seen=7),
        "somebody wrote to it": alert(alert_db),
        "it ended last week": alert(alert_db, status="resuelta"),
        "we have not said that it is over": alert(alert_db, rule="canal_caido"),
    }
    old = alert(alert_db)
    alert(alert_db, rule="canal_caido", status="resuelta")
    ahead = alert(alert_db, seen=-400)  # by a clock that was wrong
    alert_db.alert(
        "INSERT INTO alert_history (alert_id, action, who) VALUES (%s, 'reconocida', 'ana')",
        (kept["somebody wrote to it"],),
    )
    alert_db.alert(
        "UPDATE alerts SET resolved_at = extract(epoch FROM now()) - 7 * 86400 WHERE id = %s",
        (kept["it ended last week"],),
    )
    assert (await sweep(alert_db))["alerts"] == 3
    assert not {old, ahead} & set(numbers(alert_db))
    assert numbers(alert_db) == sorted(kept.values())


async def test_pages_that_hold_nothing_old_do_not_hide_what_is_behind_them(
    alert_db: World,
) -> None:
    kept = [alert(alert_db, severity="critica", told=None) for _ in range(250)]
    alert(alert_db)
    assert (await sweep(alert_db))["alerts"] == 1
    assert numbers(alert_db) == kept


def state(world: World, rule: str, key: int, text: str, days: float = 200) -> None:
    world.alert(
        "INSERT INTO rule_states (rule, key, state, version, updated_at)"
        " VALUES (%s, %s, %s, 1, now() - make_interval(secs => %s))",
        (rule, key.to_bytes(16, "big"), text, days * DAY),
    )


def states(world: World) -> list[tuple[str, int]]:
    rows = world.alert("SELECT rule, key FROM rule_states ORDER BY rule, key")
    return [(rule, int.from_bytes(key, "big")) for rule, key in rows]


async def test_of_what_rules_remember_only_what_is_spent_goes(alert_db: World) -> None:
    seen = '{"seen": [[1700000000.0, 1, 0]]}'
    absent = alert(alert_db, told=None, rule="parado")
    ((since,),) = alert_db.alert("SELECT timestamp FROM alerts WHERE id = %s", (absent,))
    state(alert_db, "cuenta", 1, seen)
    state(alert_db, "cuenta", 2, seen, days=1)
    state(alert_db, "ultimo", 1, seen)  # compares with the last value, however old
    state(alert_db, "contexto:usuario", 1, '{"time": 1.0, "values": {"role": "admin"}}')
    state(alert_db, "vix", 1, '{"lasting": {"episode": [1700000000.0, 3, 1700000000.0]}}')
    state(alert_db, "vix", 2, '{"lasting": {"over": [[1700000000.0, 3, 1700000001.0]]}}')
    state(alert_db, "parado", 1, f'{{"heard": {{"last": 1.0, "absent": {since}}}}}')
    state(alert_db, "parado", 2, '{"heard": {"last": 1.0, "absent": 1700000000.5}}')
    state(alert_db, "espera", 1, '{"heard": {"last": 1.0}}')
    alert_db.alert("UPDATE rule_states SET deadline = 1 WHERE rule = 'espera'")
    rules = ("cuenta", "vix", "parado", "espera")
    assert await sweep(alert_db, *rules) == {"rule_states": 3}
    left = {("cuenta", 2), ("ultimo", 1), ("contexto:usuario", 1), ("vix", 1), ("parado", 1)}
    assert set(states(alert_db)) == left | {("espera", 1)}
    assert numbers(alert_db) == [absent]  # it lasts: its end is still to be told
    alert_db.alert("UPDATE alerts SET status = 'resuelta'")  # by hand: the symbol is gone for good
    assert await sweep(alert_db, *rules) == {"rule_states": 1, "alerts": 1}


async def test_a_state_that_lasts_for_longer_than_the_retention_still_ends(world: World) -> None:
    moment = 0.1 / DAY  # days

    async def sweep_all() -> dict[str, int]:
        async with sweeper(world, "vix", days=moment) as old:
            return dict(await Retention(old, Metrics()).round(old))

    def told(kind: str) -> bool:
        sql = "SELECT 1 FROM notifications WHERE kind = %s AND channel = 'log' AND status = 'sent'"
        return bool(world.alert(sql, (kind,)))

    def waits() -> bool:
        return bool(world.alert("SELECT 1 FROM notifications WHERE status = 'pending'"))

    async with world.running():
        world.write("macro_data", to_json({"vix_price": 25.0}))  # alta
        await eventually(lambda: told("alert") and not waits())
        await asyncio.sleep(0.2)  # it is older than what is kept
        await sweep_all()
        assert [a["status"] for a in world.alerts()] == ["abierta"]
        assert ("vix" in dict(states(world))) is True
        world.write("macro_data", to_json({"vix_price": 12.0}))
        await eventually(lambda: told("recovery") and not waits())
        await asyncio.sleep(0.2)
        gone = await sweep_all()
    assert (gone["alerts"], gone["rule_states"]) == (1, 1)


async def test_the_small_tables_keep_what_counts(alert_db: World) -> None:
    old, young = "now() - interval '200 days'", "now() - interval '2 days'"
    alert_db.alert(
        "INSERT INTO threshold_changes (name, old_value, new_value, base_value, timestamp,"
        " changed_by, created_at) SELECT name, 1, value, 1, extract(epoch FROM at), 'x', at"
        f" FROM (VALUES ('vix', 1, {old}), ('vix', 2, {old}), ('vix', 3, {young}),"
        f" ('roi', 4, {old}))"
        " AS c (name, value, at)"
    )
    alert_db.alert(
        "INSERT INTO silences (matchers, starts_at, ends_at, expired_at, who, reason) VALUES"
        f" ('[]', {old}, {old}, NULL, 'ended', 'x'), ('[]', {old}, NULL, NULL, 'for ever', 'x'),"
        f" ('[]', {old}, NULL, {old}, 'expired', 'x'), ('[]', {old}, {old}, NULL, 'named', 'x'),"
        f" ('[]', {old}, {young}, NULL, 'young', 'x'), ('[]', {old}, {old}, NULL, 'newest', 'x')"
    )
    alert_db.alert(
        "UPDATE alerts SET silence_id = (SELECT id FROM silences WHERE who = 'named')"
        " WHERE id = %s",
        (alert(alert_db, 3),),
    )
    alert_db.alert(
        "INSERT INTO dead_letters (source, channel, reason, size, timestamp, created_at)"
        f" VALUES ('eventos', 'alertas', 'old', 1, 1, {old}),"
        f" ('eventos', 'alertas', 'young', 1, 1, {young})"
    )
    alert_db.alert(
        "INSERT INTO told_ahead (fingerprint, timestamp, span, channel, told_at, attempts,"
        f" reported_at) VALUES ('a', 1, 1, 'email', 1, 1, {old}),"
        f" ('b', 1, 1, 'email', 1, 1, {young})"
    )
    assert await sweep(alert_db) == {
        "threshold_changes": 1, "silences": 2, "dead_letters": 1, "told_ahead": 1,
    }  # fmt: skip
    found = alert_db.alert("SELECT new_value FROM threshold_changes ORDER BY id")
    assert [row[0] for row in found] == [2, 3, 4]  # 2 counted when the retention begins
    who = alert_db.alert("SELECT who FROM silences ORDER BY id")
    assert [row[0] for row in who] == ["for ever", "named", "young", "newest"]
