"""What was: rows of `eventos` and alerts of a time, read for a replay without touching anything."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import msgspec
from psycopg2.extensions import connection as Connection  # noqa: N812

from ..domain.dedupe import Known, KnownAlert
from ..domain.model import RawEvent, Severity
from ..domain.thresholds import StoredThresholds
from ..domain.verdicts import Told
from ..letters import believable
from ..settings import REPORTS, Settings
from .copied import copied, events_in
from .eventos_rows import is_text, position_before, with_payload
from .queries import fetch_value, query
from .thresholds import load_thresholds

PAGE = 5000  # rows


class Span(NamedTuple):
    """Rows of `eventos`: those after `before`, up to `last`."""

    before: int
    last: int


class Happened(NamedTuple):
    """The alerts of a time.

    Attributes:
        told: those of rules on `eventos`.
        elsewhere: how many came by another road alone, and cannot be replayed.
    """

    told: list[Told]
    elsewhere: int


def find_span(corec_db: Connection, since: float | None) -> Span:
    """Returns the rows from a time on (epoch seconds), or all of them."""
    with corec_db.cursor() as cursor:
        before = 0 if since is None else position_before(cursor, since).hi
        return Span(before, int(fetch_value(cursor, "eventos_bounds")))


def count_rows(corec_db: Connection, span: Span) -> dict[str, int]:
    """Returns how many rows of a span each channel has."""
    with corec_db.cursor() as cursor:
        cursor.execute(query("eventos_count"), span._asdict())
        return {channel or "": count for channel, count in cursor}


def pages(
    corec_db: Connection, span: Span, settings: Settings, only: Collection[str] | None = None
) -> Iterator[list[RawEvent]]:
    """Yields the rows of a span in their order, as the reader reads them; of some channels only.

    Where the time of one cannot be believed, that of the last before it stands in for it.
    """
    arguments = {
        "channels": settings.watched(),
        "max_bytes": settings.config.limits.max_bytes,
        "batch_bytes": settings.config.reader.page_bytes,
        "limit": PAGE,
        "only": None if only is None else sorted(only),
    }
    with corec_db.cursor() as cursor:
        as_text = is_text(cursor)
    statement = with_payload("eventos_rows", as_text)

    def ask(after: int) -> bytes:
        with corec_db.cursor() as cursor:
            return copied(cursor, statement, {**arguments, "hi": after})

    # The server sends the next page while the caller works on this one. The thread only waits: were
    # it to make events of it, it would do so in the caller's time.
    with ThreadPoolExecutor(1, thread_name_prefix="history") as thread:
        hi = span.before
        last: float | None = None
        asked = thread.submit(ask, hi)
        while hi < span.last:
            rows = events_in(asked.result(), as_text)
            page, last = _dated([row for row in rows if (row.event_id or 0) <= span.last], last)
            if not page:
                return
            hi = rows[-1].event_id or span.last
            asked = thread.submit(ask, hi)
            yield page


def _dated(page: list[RawEvent], last: float | None) -> tuple[list[RawEvent], float | None]:
    now = time.time()
    for index, raw in enumerate(page):
        if believable(raw.timestamp, now):
            last = raw.timestamp
        elif last is not None:
            page[index] = msgspec.structs.replace(raw, timestamp=last)
    return page, last


def thresholds_before(alert_db: Connection, moment: float) -> StoredThresholds:
    """Returns the thresholds that commands had set at a time (epoch seconds)."""
    with alert_db.cursor() as cursor:
        return load_thresholds(cursor, moment)


def known_before(alert_db: Connection, moment: float, reach: float) -> Known:
    """Returns the alerts of the `reach` seconds before a time: what comes then may repeat them."""
    known: dict[bytes, list[KnownAlert]] = {}
    with alert_db.cursor() as cursor:
        cursor.execute(query("alerts_before"), {"after": moment - reach, "before": moment})
        for identity, fingerprint, first in cursor:
            known.setdefault(bytes(fingerprint), []).append(KnownAlert(identity, first))
    return known


def happened(alert_db: Connection, since: float, until: float, last: int) -> Happened:
    """Returns what people were told of between two times (epoch seconds), up to a row's id."""
    told: list[Told] = []
    elsewhere = 0
    with alert_db.cursor() as cursor:
        arguments = {"since": since, "until": until, "last": last, "own_channel": REPORTS}
        cursor.execute(query("alerts_happened"), arguments)
        for fingerprint, rule, severity, timestamp, event_id, title, replayable in cursor:
            if not replayable:
                elsewhere += 1
                continue
            told.append(
                Told(
                    bytes(fingerprint),
                    rule or "",
                    Severity.parse(severity),
                    timestamp,
                    event_id,
                    title or "",
                )
            )
    return Happened(told, elsewhere)
