"""Messages in the queues of channels: whom an alert is told to, and by which silences."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from src.plugins.alert_manager.domain.errors import StaleSilencesError
from src.plugins.alert_manager.domain.model import Severity
from src.plugins.alert_manager.domain.outcome import Judged, SilencesSeen
from src.plugins.alert_manager.utils.commit import store
from src.plugins.alert_manager.utils.queueing import Queued, ToTell, queue_messages
from tests.plugins.test_told_ahead import Cursor, alert, commit, cursor

__all__ = ["cursor"]


def make(cursor: Cursor, count: int) -> list[int]:
    """So many alerts, of which nobody is told."""
    cursor.execute(
        "INSERT INTO alerts (severity, message, channel, timestamp)"
        " SELECT 'alta', 'm', 'c', 1 FROM generate_series(1, %s) RETURNING id",
        (count,),
    )
    return [row[0] for row in cursor.fetchall()]


def queued(cursor: Cursor) -> list[tuple[int, str, int, str]]:
    cursor.execute("SELECT alert_id, channel, severity, status FROM notifications ORDER BY id")
    return [(row[0], row[1], row[2], row[3]) for row in cursor.fetchall()]


@pytest.mark.parametrize("to_tell", [[], [ToTell(1, Severity.ALTA, ())]])
def test_nobody_is_told_of_nothing(cursor: Cursor, to_tell: Sequence[ToTell]) -> None:
    assert queue_messages(cursor, to_tell) == Queued()
    assert queued(cursor) == []


def test_each_alert_goes_to_its_own_channels_in_the_order_of_alerts(cursor: Cursor) -> None:
    one, two, three, four = make(cursor, 4)
    found = queue_messages(
        cursor,
        [
            ToTell(three, Severity.BAJA, ("log", "e")),
            ToTell(one, Severity.ALTA, ("log", "e")),
            ToTell(four, Severity.BAJA, ()),
            ToTell(two, Severity.CRITICA, ("d",)),
        ],
    )
    assert found == Queued(frozenset({"log", "e", "d"}))
    assert queued(cursor) == [
        (one, "log", 3, "pending"),
        (one, "e", 3, "pending"),
        (two, "d", 4, "pending"),
        (three, "log", 1, "pending"),
        (three, "e", 1, "pending"),
    ]


def test_an_alert_that_comes_twice_is_told_once_to_all_of_them(cursor: Cursor) -> None:
    (one,) = make(cursor, 1)
    queue_messages(
        cursor,
        [ToTell(one, Severity.ALTA, ("log", "e")), ToTell(one, Severity.ALTA, ("e", "d"))],
    )
    assert [row[1] for row in queued(cursor)] == ["log", "e", "d"]


def test_what_was_muted_is_told_after_all_and_what_was_told_is_not(cursor: Cursor) -> None:
    (one,) = make(cursor, 1)
    queue_messages(cursor, [ToTell(one, Severity.ALTA, ("d", "e"))])
    cursor.execute(
        "UPDATE notifications SET status = CASE channel WHEN 'd' THEN 'muted' ELSE 'sent' END"
    )
    queue_messages(cursor, [ToTell(one, Severity.ALTA, ("d", "e"))])
    assert {row[1]: row[3] for row in queued(cursor)} == {"d": "pending", "e": "sent"}


def test_a_commit_by_other_silences_or_at_another_time_fails(cursor: Cursor) -> None:
    cursor.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
    ahead = (cursor.fetchone() or (0.0,))[0] - time.monotonic()
    commit(cursor, alert(1, "discord"))

    def stored(version: str, off: float) -> None:
        seen = SilencesSeen(version, ahead + off)
        store(cursor, Judged(1, (alert(2, "discord", 7200.0),), silences=seen), {})
        cursor.connection.rollback()

    stored("", 0.0)
    for version, off in (("1", 0.0), ("", 3.0), ("", -3.0)):  # a machine that slept, or a set clock
        with pytest.raises(StaleSilencesError):
            stored(version, off)
        cursor.connection.rollback()
    cursor.execute(
        "INSERT INTO silences (matchers, starts_at, ends_at, who, reason)"
        " VALUES ('[]', now() + interval '1 h', now() + interval '2 h', 'ana', 'r') RETURNING id"
    )
    number = (cursor.fetchone() or (0,))[0]
    cursor.connection.commit()
    with pytest.raises(StaleSilencesError):
        stored("", 0.0)
    cursor.connection.rollback()
    stored(str(number), 0.0)
