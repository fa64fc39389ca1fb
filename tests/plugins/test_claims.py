"""In which order messages are claimed, whatever became of those before them; and what is locked."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg2
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from src.plugins.alert_manager.domain.delivery import Message, Outcome, Rejected, Retry, Sent
from src.plugins.alert_manager.utils.queries import query
from tests.plugins.conftest import World, eventually
from tests.plugins.test_delivery import statuses
from tests.plugins.test_delivery_faults import alert_db, delivering, queue
from tests.support.pace import slowness

__all__ = ["alert_db"]


class Picky:
    """Rejects a batch for one of its messages."""

    kind = "webhook"
    max_batch = 10

    def __init__(self) -> None:
        self.calls: list[int] = []

    async def send(self, messages: Sequence[Message]) -> Outcome:
        self.calls.append(len(messages))
        return Rejected("400") if any(m.text == "veneno" for m in messages) else Sent()

    async def close(self) -> None:
        pass


class Limited:
    """Puts every second batch off, as a server with a rate limit does."""

    kind = "webhook"
    max_batch = 10

    def __init__(self) -> None:
        self.calls = 0
        self.told: list[int] = []

    async def send(self, messages: Sequence[Message]) -> Outcome:
        self.calls += 1
        if self.calls % 2:
            return Retry("429", after=0.02, throttled=True)
        self.told += [int(message.text) for message in messages]
        return Sent()

    async def close(self) -> None:
        pass


async def test_a_rejected_batch_is_taken_apart_before_others_and_they_go_on_together(
    alert_db: World,
) -> None:
    channel = Picky()
    queue(alert_db, "w", "veneno", 3)
    for number in range(300):
        queue(alert_db, "w", f"m{number}", 3)
    async with delivering(alert_db, {"w": channel}):
        await eventually(lambda: statuses(alert_db, "w") == {"sent": 300, "dead": 1})
    assert channel.calls[:11] == [10] + [1] * 10
    assert len(channel.calls) == 1 + 10 + 30  # 291 are left


async def test_what_a_rate_limit_put_off_is_still_the_oldest(alert_db: World) -> None:
    channel = Limited()
    for number in range(100):
        queue(alert_db, "w", str(number), 3)
    async with delivering(alert_db, {"w": channel}):
        await eventually(lambda: statuses(alert_db, "w") == {"sent": 100})
    assert channel.told == list(range(100))


@contextmanager
def open_cursor(dsn: str) -> Iterator[Cursor]:
    connection = psycopg2.connect(dsn)
    try:
        with connection.cursor() as cursor:
            yield cursor
    finally:
        connection.close()


def claim(cursor: Cursor, limit: int) -> list[int]:
    """Claims as a channel does; returns the severities, in the order of the ids."""
    ids, _ = claimed(cursor, limit)
    cursor.execute("SELECT severity FROM notifications WHERE id = ANY(%s) ORDER BY id", (ids,))
    return [row[0] for row in cursor]


def claimed(cursor: Cursor, limit: int, channel: str = "w") -> tuple[list[int], str]:
    """Claims; returns the ids, and the token that completes them."""
    token = str(uuid.uuid4())
    cursor.execute(query("notifications_claim"), _arguments(limit, channel, token))
    return [row[0] for row in cursor.fetchall()], token


def _arguments(limit: int, channel: str, token: str) -> dict[str, Any]:
    return {
        "channel": channel,
        "max_age": 86400,
        "least": 0,
        "target": "",
        "limit": limit,
        "token": token,
        "lease": 60.0,
        "brief": False,
        "mark": None,
    }


def test_two_instances_that_claim_at_once_each_get_the_most_urgent_that_is_left(
    alert_db: World,
) -> None:
    for severity in (1, 3, 4, 2, 4):
        queue(alert_db, "w", f"s{severity}", severity)
    with open_cursor(alert_db.alert_dsn) as one, open_cursor(alert_db.alert_dsn) as other:
        assert claim(one, 1) == [4]
        assert claim(other, 2) == [3, 4]  # the first transaction is still open
        assert claim(one, 5) == [1, 2]


def test_what_is_not_due_keeps_nothing_waiting(alert_db: World) -> None:
    alert_db.alert(
        "WITH a AS (INSERT INTO alerts (severity, message, channel, timestamp)"
        " SELECT 'media', 'm', 'c', 1 FROM generate_series(1, 30) RETURNING id)"
        " INSERT INTO notifications (alert_id, channel, severity, next_attempt_at)"
        " SELECT id, 'w', 2, now() + interval '1 h' * (id %% 2) FROM a"
    )
    with open_cursor(alert_db.alert_dsn) as cursor:
        assert len(claim(cursor, 100)) == 15
        assert claim(cursor, 100) == []


def test_what_the_channel_told_while_its_fallback_was_at_it_is_not_told_again(
    alert_db: World,
) -> None:
    queue(alert_db, "w", "crítica", 4)
    alert_db.alert(
        "INSERT INTO notifications (alert_id, channel, severity, handed_from)"
        " SELECT id, 'email', 4, 'w' FROM alerts RETURNING id"
    )
    attempt = {"seconds": 0.1, "answer": "", "external_id": None, "refused": None}
    later = {"delay": 1.0, "reason": "451", "give_back": 0, "progress": None, "hold": 0.0}
    with open_cursor(alert_db.alert_dsn) as cursor:
        sending, theirs = claimed(cursor, 1, "email")
        ids, token = claimed(cursor, 1)
        values = {"ids": ids, "token": token, "outcome": "sent", **attempt}
        cursor.execute(query("notifications_sent"), values)
        values = {"ids": sending, "token": theirs, "outcome": "retry", **attempt, **later}
        cursor.execute(query("notifications_retry"), {**values, "channel": "email", "target": ""})
        cursor.execute("SELECT channel, status, last_error FROM notifications ORDER BY channel")
        assert cursor.fetchall() == [("email", "moved", "lo entregó w"), ("w", "sent", None)]


class Quick:
    """Takes everything, and remembers when."""

    kind = "webhook"
    max_batch = 10

    def __init__(self) -> None:
        self.told: list[tuple[float, str]] = []

    async def send(self, messages: Sequence[Message]) -> Outcome:
        self.told += [(time.monotonic(), message.kind) for message in messages]
        return Sent()

    async def close(self) -> None:
        pass


async def test_what_waits_for_another_message_follows_it_at_once(alert_db: World) -> None:
    channel = Quick()
    queue(alert_db, "w", "se rompió", 3)
    alert_db.alert(
        "INSERT INTO notifications (alert_id, channel, severity, kind)"
        " SELECT id, 'w', 3, 'recovery' FROM alerts"
    )
    async with delivering(alert_db, {"w": channel}):
        await eventually(lambda: statuses(alert_db, "w") == {"sent": 2})
    (first, told), (second, ended) = channel.told
    assert (told, ended) == ("alert", "recovery")
    assert second - first < 2.0  # nobody is waited for; who only looks now and then takes 5 s


def test_a_claim_says_whether_others_wait(alert_db: World) -> None:
    for number in range(3):
        queue(alert_db, "w", f"m{number}", 3)
    queue(alert_db, "otro", "m", 4)
    with open_cursor(alert_db.alert_dsn) as cursor:
        mores = []
        for limit in (2, 3, 10):
            mores.append(_more(cursor, limit))
            cursor.connection.rollback()
    assert mores == [True, False, False]


def test_a_digest_of_ten_thousand_is_claimed_in_no_time(alert_db: World) -> None:
    alert_db.alert(
        "WITH a AS (INSERT INTO alerts (severity, message, channel, timestamp)"
        " SELECT 'media', 'm', 'c', 1 FROM generate_series(1, 10000) RETURNING id)"
        " INSERT INTO notifications (alert_id, channel, severity) SELECT id, 'w', 2 FROM a"
    )
    with open_cursor(alert_db.alert_dsn) as cursor:
        began = time.monotonic()
        arguments = _arguments(10_000, "w", str(uuid.uuid4()))
        cursor.execute(query("notifications_claim"), {**arguments, "brief": True, "mark": ""})
        rows = cursor.fetchall()
        took = time.monotonic() - began
    assert len(rows) == 10_000
    assert rows[0][-1] is False
    assert took < 4.0 * slowness()  # 0.4 s; it was more than the 8 s that the server allows


def _more(cursor: Cursor, limit: int) -> bool:
    cursor.execute(query("notifications_claim"), _arguments(limit, "w", str(uuid.uuid4())))
    return bool(cursor.fetchall()[0][-1])
