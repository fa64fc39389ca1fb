"""What rules remember, in alert_db; and the ends of the alerts that they opened."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ..domain.errors import StaleStateError
from ..domain.model import StateKey, States, StoredState
from ..domain.outcome import Resolution
from .arrays import blobs, numbers, texts
from .channels.registry import REPORT_CHANNELS
from .queries import execute_prepared, fetch_value, query


def load_states(cursor: Cursor, keys: Iterable[StateKey]) -> dict[StateKey, StoredState]:
    """Returns what is stored of each key; keys without anything stored are left out."""
    names, hashes = zip(*keys, strict=True)
    arguments = {"rule": texts(names), "key": blobs(hashes)}
    execute_prepared(cursor, "states_get", arguments)
    return {(rule, bytes(key)): StoredState(*stored) for rule, key, *stored in cursor}


def judged_until(cursor: Cursor, silence: float, but: str | None) -> float:
    """Returns the moment up to which everything is judged (epoch seconds), in all sources but one.

    A source that nobody read for `silence` seconds is not waited for; infinity: there is none.
    """
    return float(fetch_value(cursor, "judged_until", {"silence": silence, "but": but}))


def load_due(
    cursor: Cursor, rules: Iterable[str], until: float, after: StateKey | None, limit: int
) -> dict[StateKey, StoredState]:
    """Returns states of these rules whose deadline is no later than `until`, by their keys' order.

    `after` is the last key of the page before.
    """
    rule, key = after or ("", b"")
    cursor.execute(
        query("states_due"),
        {
            "rules": list(rules),
            "until": until,
            "rule": rule,
            "key": psycopg2.Binary(key),
            "limit": limit,
        },
    )
    return {(rule, bytes(key)): StoredState(*stored) for rule, key, *stored in cursor}


def forget_states(connection: Connection, but: Iterable[str]) -> None:
    """Forgets what was remembered under other names: a rule that returns begins anew."""
    with connection.cursor() as cursor:
        cursor.execute(query("states_forget"), {"names": list(but)})


def store_states(cursor: Cursor, states: States) -> None:
    """Stores what rules remember, inside the caller's transaction.

    Raises:
        StaleStateError: another source's reader stored one of them meanwhile.
    """
    if not states:
        return
    execute_prepared(
        cursor,
        "states_put",
        {
            "rule": texts(rule for rule, _ in states),
            "key": blobs(key for _, key in states),
            "state": texts(stored.text for stored in states.values()),
            "version": numbers(stored.version for stored in states.values()),
            "deadline": numbers(stored.deadline for stored in states.values()),
        },
    )
    if cursor.rowcount != len(states):
        raise StaleStateError("otra fuente cambió lo que recordaba una regla")


def resolve(cursor: Cursor, resolutions: Sequence[Resolution]) -> frozenset[str]:
    """Ends alerts, and queues the news for whoever was told of them; returns those channels.

    Reports are about alerts alone: programs count them.
    """
    if not resolutions:
        return frozenset()
    ends = [
        (number, psycopg2.Binary(fingerprint), end.timestamp, end.message, end.closes)
        for number, end in enumerate(resolutions)
        for fingerprint in end.fingerprints
    ]
    numbers, fingerprints, timestamps, messages, closes = map(list, zip(*ends, strict=True))
    cursor.execute(
        query("alerts_resolve"),
        {
            "number": numbers,
            "fingerprint": fingerprints,
            "timestamp": timestamps,
            "message": messages,
            "closes": closes,
            "silent": list(REPORT_CHANNELS),
            "spared": "ya está resuelta",
        },
    )
    return frozenset(row[0] for row in cursor)
