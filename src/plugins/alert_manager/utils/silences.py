"""Silences in alert_db."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ..domain.model import Severity
from ..domain.silences import Matcher, Silence, Silences, first_covering
from ..domain.time_intervals import Intervals
from .commit import LOCK_CLASS
from .queries import execute_prepared, fetch_value, query


class Added(NamedTuple):
    """A silence that was stored.

    Attributes:
        ends: epoch seconds; None: when somebody ends it.
        muted: messages that will not be sent.
    """

    number: int
    ends: float | None
    muted: int


def load_silences(cursor: Cursor) -> Silences:
    """Returns the silences that count now, or will."""
    execute_prepared(cursor, "silences_get", {})
    answered_at = time.monotonic()  # here: the event loop may hear of it late
    found = cursor.fetchall()
    *_, now = found[0]
    known = tuple(silence(*row[:5]) for row in found if row[0] is not None)
    return Silences(known, float(now), float(now) - answered_at)


def silence(number: int, matchers: Any, starts: float, ends: float | None, weekly: Any) -> Silence:
    """Returns a silence from its row."""
    conditions = tuple(Matcher(*matcher) for matcher in matchers)
    return Silence(number, conditions, starts, ends, None if weekly is None else _weekly(weekly))


def _weekly(stored: Mapping[str, Any]) -> Intervals:
    return Intervals(
        zone=ZoneInfo(stored["zone"]),
        weekdays=frozenset(stored["weekdays"]),
        hours=tuple((begin, end) for begin, end in stored["hours"]),
    )


def weekly_json(weekly: Intervals) -> dict[str, Any]:
    """Returns the hours of a silence as they are stored."""
    return {
        "zone": weekly.zone.key,
        "weekdays": sorted(weekly.weekdays),
        "hours": [list(hours) for hours in weekly.hours],
    }


def add_silence(cursor: Cursor, arguments: Mapping[str, Any]) -> Added:
    """Stores a silence, and mutes what waits of alerts that it covers now.

    Commits take turns with it: those from before are seen here, those after it see the silence.
    """
    cursor.execute(query("serialise_commits"), {"key": LOCK_CLASS})
    number = int(fetch_value(cursor, "silence_put", arguments))
    cursor.execute(query("silence_get"), {"id": number})
    (new,) = (silence(*row) for row in cursor)
    counts = new.counts(float(fetch_value(cursor, "now")))
    muted = mute_waiting(cursor, [new], arguments["machines"]) if counts else 0
    return Added(number, new.ends, muted)


def mute_waiting(
    cursor: Cursor, counting: Sequence[Silence], machines: Sequence[str], every: bool = True
) -> int:
    """Mutes messages that wait of alerts that a silence covers; returns how many.

    Args:
        cursor: of alert_db.
        counting: silences that count now.
        machines: channels that are told all the same.
        every: False looks only at what was tried before.
    """
    cursor.execute(query("notifications_to_mute"), {"machines": machines, "every": every})
    covered: dict[int, list[int]] = {}
    for notification, rule, severity, channel, data in cursor.fetchall():
        about = (rule or "", Severity.parse(severity), channel, data or {})
        if (number := first_covering(counting, *about)) is not None:
            covered.setdefault(number, []).append(notification)
    muted = 0
    for number, ids in covered.items():
        reason = f"callada por el silencio {number}"
        cursor.execute(query("notifications_mute"), {"ids": ids, "reason": reason})
        muted += int(cursor.rowcount)
        arguments = {"ids": ids, "silence": number, "machines": machines}
        cursor.execute(query("alerts_muted"), arguments)
    return muted
