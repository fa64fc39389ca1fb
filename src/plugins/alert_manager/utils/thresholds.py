"""Changed thresholds in alert_db: every change with who made it and when."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import starmap

from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ..domain.outcome import Change
from ..domain.thresholds import FOLLOWED, Followed, StoredThresholds
from .queries import query


def load_thresholds(cursor: Cursor, before: float | None = None) -> StoredThresholds:
    """Returns the newest change of each threshold, up to a time (epoch seconds) where given."""
    cursor.execute(query("thresholds_get"), {"before": before, "followed": FOLLOWED})
    rows = cursor.fetchall()
    return StoredThresholds(
        version=max((row[0] for row in rows), default=0),
        changes={row[1]: Change(*row[1:7]) for row in rows},
        followed={row[1]: tuple(starmap(Followed, row[7])) for row in rows},
    )


def store_changes(cursor: Cursor, changes: Sequence[Change]) -> None:
    """Stores changes, inside the caller's transaction."""
    if not changes:
        return
    names, old, new, bases, timestamps, who = map(list, zip(*changes, strict=True))
    cursor.execute(
        query("thresholds_put"),
        {
            "name": names,
            "old": old,
            "new": new,
            "base": bases,
            "timestamp": timestamps,
            "who": who,
        },
    )
