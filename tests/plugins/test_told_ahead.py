"""What an outage told, and what became of an alert, as alert_db has it afterwards."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psycopg2
import psycopg2.extensions
import pytest

from src.plugins.alert_manager.domain.model import Severity
from src.plugins.alert_manager.domain.outcome import Candidate, Judged, Resolution, Said
from src.plugins.alert_manager.utils.commit import store
from src.plugins.alert_manager.utils.queries import query
from src.plugins.alert_manager.utils.states import resolve
from tests.plugins.conftest import SCHEMA, World

Cursor = psycopg2.extensions.cursor
LOSS = b"f" * 16
BEGIN = 1_760_000_000.0
TOKEN = "00000000-0000-0000-0000-000000000001"


@pytest.fixture
def cursor(world: World) -> Iterator[Cursor]:
    """alert_db with its tables, and nobody else at work."""
    world.alert(SCHEMA.read_text(encoding="utf-8"))
    connection = psycopg2.connect(world.alert_dsn)
    try:
        yield connection.cursor()
    finally:
        connection.close()


def alert(
    number: int,
    channel: str,
    later: float = 0.0,
    silence: int | None = None,
    fingerprint: bytes = LOSS,
) -> Candidate:
    return Candidate(
        "eventos",
        number,
        "trading_results",
        "perdida",
        Severity.CRITICA,
        Said("Pérdida", "m"),
        {},
        BEGIN + later,
        None,
        fingerprint,
        3600.0,
        (channel,),
        silence=silence,
    )


def commit(cursor: Cursor, *alerts: Candidate) -> None:
    store(cursor, Judged(len(alerts), alerts), {})
    cursor.connection.commit()


def report(cursor: Cursor, progress: str | None, fingerprint: bytes = LOSS) -> None:
    """An outage told of this by e-mail, to all or to some."""
    values: dict[str, Any] = {
        "fingerprint": [psycopg2.Binary(fingerprint)],
        "timestamp": [BEGIN],
        "window": [3600.0],
        "channel": ["email"],
        "told_at": [BEGIN],
        "attempts": [1],
        "answer": ["250 ok"],
        "external_id": [None],
        "progress": [progress],
    }
    cursor.execute(query("told_ahead_put"), values)
    cursor.execute(query("told_ahead_apply"), {"ids": None})
    cursor.connection.commit()


def remaining(*names: str) -> str:
    listed = ", ".join(f'"{name}"' for name in names)
    return f'{{"remaining": [{listed}], "refused": "", "told": true, "digest": ""}}'


def messages(cursor: Cursor) -> list[tuple[Any, ...]]:
    sql = "SELECT alert_id, channel, kind, status FROM notifications ORDER BY alert_id, id"
    cursor.execute(sql)
    return list(cursor.fetchall())


def test_who_was_told_in_part_is_known_once(cursor: Cursor) -> None:
    """What is sent afterwards is not forgotten when something else of the outage is reported."""
    commit(cursor, alert(1, "email"))
    report(cursor, remaining("beto", "eva"))
    cursor.execute(
        "UPDATE notifications SET progress = %s, lease_token = %s,"
        " next_attempt_at = now() + interval '60 s'",
        (remaining("eva"), TOKEN),
    )
    report(cursor, None, b"g" * 16)
    cursor.execute("SELECT progress->'remaining', attempts FROM notifications")
    assert cursor.fetchall() == [(["eva"], 1)]
    cursor.execute("SELECT count(*) FROM deliveries")
    assert cursor.fetchall() == [(1,)]


def test_what_two_told_is_one_delivery(cursor: Cursor) -> None:
    report(cursor, None)
    cursor.execute("UPDATE told_ahead SET timestamp = timestamp + 30")
    report(cursor, None)
    commit(cursor, alert(1, "email"))
    assert messages(cursor) == [(1, "email", "alert", "sent")]
    cursor.execute("SELECT count(*) FROM deliveries")
    assert cursor.fetchall() == [(1,)]


def test_the_next_after_an_alert_that_alert_db_had_sent_is_news(cursor: Cursor) -> None:
    commit(cursor, alert(1, "email"))
    cursor.execute("UPDATE notifications SET status = 'sent'")
    report(cursor, None)
    resolve(cursor, [Resolution((LOSS,), "fin", BEGIN + 100, closes=True)])
    commit(cursor, alert(2, "email", 200.0))
    assert messages(cursor)[-1] == (2, "email", "alert", "pending")


def test_a_batch_that_a_silence_covers_in_part_is_open(cursor: Cursor) -> None:
    cursor.execute(
        "INSERT INTO silences (matchers, starts_at, who, reason)"
        " VALUES ('[[\"user\",\"=\",\"ana\"]]', now(), 'x', 'x')"
    )
    commit(cursor, alert(1, "log", silence=1), alert(2, "discord", 1.0))
    cursor.execute("SELECT status, silence_id FROM alerts")
    assert cursor.fetchall() == [("abierta", None)]
    assert messages(cursor)[-1] == (1, "discord", "alert", "pending")


def refuse(cursor: Cursor, kind: str) -> None:
    """Discord refuses for good what it is sent of the last alert; e-mail is its fallback."""
    cursor.execute(
        "UPDATE notifications SET lease_token = %s WHERE kind = %s AND status = 'pending'"
        " RETURNING id",
        (TOKEN, kind),
    )
    values = {
        "ids": [number for (number,) in cursor.fetchall()],
        "token": TOKEN,
        "reason": "400",
        "fallback": "email",
        "urgent": int(Severity.ALTA),
        "seconds": 0.1,
        "outcome": "rejected",
        "answer": "400",
    }
    cursor.execute(query("notifications_dead"), values)


def test_an_end_that_is_refused_is_not_told_to_who_never_heard_the_beginning(
    cursor: Cursor,
) -> None:
    commit(cursor, alert(1, "discord"))
    cursor.execute("UPDATE notifications SET status = 'sent', finished_at = now()")
    resolve(cursor, [Resolution((LOSS,), "fin", BEGIN + 100)])
    refuse(cursor, "recovery")
    assert messages(cursor) == [
        (1, "discord", "alert", "sent"),
        (1, "discord", "recovery", "dead"),
    ]


def test_no_end_is_told_where_the_alert_was_refused(cursor: Cursor) -> None:
    commit(cursor, alert(1, "discord"))
    resolve(cursor, [Resolution((LOSS,), "fin", BEGIN + 100)])
    refuse(cursor, "alert")
    assert messages(cursor) == [
        (1, "discord", "alert", "dead"),
        (1, "discord", "recovery", "muted"),
        (1, "email", "alert", "pending"),
    ]


def test_what_an_outage_told_is_not_an_alert_that_was_over_before(cursor: Cursor) -> None:
    """Of two outages within an hour, the second one is told once, too."""
    commit(cursor, alert(1, "email", -600.0))
    cursor.execute("UPDATE notifications SET status = 'sent'")
    resolve(cursor, [Resolution((LOSS,), "fin", BEGIN - 300, closes=True)])
    report(cursor, None)
    commit(cursor, alert(2, "email"))
    assert messages(cursor)[-1] == (2, "email", "alert", "sent")


def test_whoever_had_a_part_of_it_hears_the_end(cursor: Cursor) -> None:
    commit(cursor, alert(1, "discord"))
    resolve(cursor, [Resolution((LOSS,), "fin", BEGIN + 100)])
    cursor.execute(
        "UPDATE notifications SET progress = %s WHERE kind = 'alert'", (remaining("beto"),)
    )
    refuse(cursor, "alert")
    assert (1, "discord", "recovery", "pending") in messages(cursor)


def test_a_long_outage_is_no_square(cursor: Cursor) -> None:
    """3,000 messages take 0.3 s; 7 s, when two lists of them were joined row by row."""
    times = (
        "SELECT decode(md5(n::text), 'hex') AS mark, 1e9 + n AS at"
        " FROM generate_series(1, 3000) AS n"
    )
    cursor.execute(
        "INSERT INTO told_ahead (fingerprint, timestamp, span, channel, told_at, attempts)"
        f" SELECT mark, at, 3600, 'email', at, 1 FROM ({times}) AS t"
    )
    cursor.execute(
        "WITH a AS (INSERT INTO alerts (severity, message, channel, timestamp, fingerprint)"
        f" SELECT 'alta', 'm', 'alertas', at, mark FROM ({times}) AS t RETURNING id)"
        " INSERT INTO notifications (alert_id, channel, severity) SELECT id, 'email', 3 FROM a"
    )
    started = time.monotonic()
    cursor.execute(query("told_ahead_apply"), {"ids": None})
    assert (cursor.rowcount, time.monotonic() - started < 4.0) == (3000, True)
    cursor.execute("SELECT status, count(*) FROM notifications GROUP BY status")
    assert cursor.fetchall() == [("sent", 3000)]
