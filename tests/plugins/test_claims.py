"""In which order messages are claimed, whatever became of those before them; and what is locked."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg2
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from src.plugins.alert_manager.domain.delivery import Message, Outcome, Rejected, Retry, Sent
from src.plugins.alert_manager.utils.queries import query
from tests.plugins.conftest import World, eventually
from tests.plugins.test_delivery import statuses
from tests.plugins.test_delivery_faults import alert_db, delivering, queue

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
    arguments = {
        "channel": "w",
        "max_age": 86400,
        "least": 0,
        "target": "",
        "limit": limit,
        "token": str(uuid.uuid4()),
        "lease": 60.0,
        "brief": False,
        "mark": None,
    }
    cursor.execute(query("notifications_claim"), arguments)
    ids = [row[0] for row in cursor.fetchall()]
    cursor.execute("SELECT severity FROM notifications WHERE id = ANY(%s) ORDER BY id", (ids,))
    return [row[0] for row in cursor]


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
