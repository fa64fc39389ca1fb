"""Puts what is to be told into the queues of channels, inside the transaction of a commit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ..domain.model import Severity
from .arrays import numbers, texts
from .queries import execute_prepared, prepared_value, query


class ToTell(NamedTuple):
    """An alert that channels are to tell.

    Attributes:
        alert_id: whose severity it is, too.
        channels: the names of notification channels.
    """

    alert_id: int
    severity: Severity
    channels: tuple[str, ...]


class Queued(NamedTuple):
    """What queueing messages came to.

    Attributes:
        channels: that have something to tell.
        told: (alert id, channel) of what was told before it was stored.
    """

    channels: frozenset[str] = frozenset()
    told: frozenset[tuple[int, str]] = frozenset()


def queue_messages(cursor: Cursor, to_tell: Sequence[ToTell]) -> Queued:
    """Queues a message for each channel of each alert; of an alert that comes twice, once."""
    channels: dict[int, tuple[Severity, tuple[str, ...]]] = {}
    for alert_id, severity, names in to_tell:
        if alert_id in channels:  # one statement cannot change a row twice
            names = tuple(dict.fromkeys((*channels[alert_id][1], *names)))
        if names:
            channels[alert_id] = severity, names
    if not channels:
        return Queued()
    # Nearly all alerts go to the same channels: each such set is named once, not for each alert.
    sets: dict[tuple[str, ...], int] = {}
    number_of = [sets.setdefault(names, len(sets)) for _, names in channels.values()]
    members = [(number, name) for names, number in sets.items() for name in names]
    execute_prepared(
        cursor,
        "notifications_insert",
        {
            "alert_id": numbers(channels),
            "severity": numbers([int(severity) for severity, _ in channels.values()]),
            "set": numbers(number_of),
            "member_of": numbers([number for number, _ in members]),
            "member": texts([name for _, name in members]),
        },
    )
    told_to = frozenset(name for _, name in members)
    if not prepared_value(cursor, "told_ahead_any"):
        return Queued(told_to)
    cursor.execute(query("told_ahead_apply"), {"ids": numbers(channels)})
    return Queued(told_to, frozenset((row[0], row[1]) for row in cursor))
