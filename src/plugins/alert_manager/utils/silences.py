"""Silences in alert_db."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ..domain.model import Severity
from ..domain.silences import Matcher, Silence
from ..domain.time_intervals import Intervals
from .queries import fetch_value, query


class Added(NamedTuple):
    """A silence that was stored.

    Attributes:
        ends: epoch seconds; None: when somebody ends it.
        muted: messages that will not be sent.
    """

    number: int
    ends: float | None
    muted: int


def load_silences(cursor: Cursor) -> tuple[tuple[Silence, ...], float]:
    """Returns the silences that count now, or will, and the server's time (epoch seconds)."""
    cursor.execute(query("silences_get"))
    found = cursor.fetchall()
    return tuple(silence(*row) for *row, _ in found if row[0] is not None), float(found[0][-1])


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
    """Stores a silence, and mutes what waits of alerts that it covers now."""
    number = int(fetch_value(cursor, "silence_put", arguments))
    cursor.execute(query("silence_get"), {"id": number})
    (new,) = (silence(*row) for row in cursor)
    now = float(fetch_value(cursor, "now"))
    if not new.counts(now):
        return Added(number, new.ends, 0)
    cursor.execute(query("notifications_to_mute"), {"machines": arguments["machines"]})
    covered = [
        notification
        for notification, rule, severity, channel, data in cursor.fetchall()
        if new.covers(rule or "", Severity.parse(severity), channel, data or {})
    ]
    reason = f"callada por el silencio {number}"
    cursor.execute(query("notifications_mute"), {"ids": covered, "reason": reason})
    muted = int(cursor.rowcount)
    cursor.execute(query("alerts_muted"), {**arguments, "ids": covered, "silence": number})
    return Added(number, new.ends, muted)
