"""The statements of one commit to alert_db: dedupe, alerts, notifications, dead letters."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import msgspec
from psycopg2.extensions import cursor as Cursor  # noqa: N812

from ..domain.dedupe import (
    NONE_SEEN,
    TWIN_WINDOW,
    Decision,
    Known,
    KnownAlert,
    Road,
    Seen,
    decide,
    is_repeat,
    once,
    plus_one,
)
from ..domain.errors import NoLetterError, StaleSilencesError
from ..domain.outcome import Candidate, Committed, DeadLetter, Judged, Said, SilencesSeen
from .arrays import blobs, numbers, texts
from .queries import execute_prepared, query
from .queueing import ToTell, queue_messages

_CLOCKS_DIFFER = 2.0  # seconds
LOCK_CLASS = 0x616C6572  # "aler": the first half of our advisory lock keys in alert_db


def store(cursor: Cursor, judged: Judged, cached: Mapping[bytes, tuple[int, float]]) -> Committed:
    """Stores candidates as alerts or repeats, inside the caller's transaction.

    `cached` is (alert id, event time) by fingerprint as the cache knows it: a hint, never trusted.

    Raises:
        StaleSilencesError: the silences are not those that were looked at.
    """
    candidates = judged.candidates
    execute_prepared(cursor, "serialise_commits", {"key": LOCK_CLASS})
    _check_silences(cursor, judged.silences)
    known = _known(cursor, candidates, cached)
    decision = decide(candidates, known)
    muted = _count_repeats(cursor, candidates, decision)
    if muted is None:
        # The cache named an alert that alert_db does not have (restored, emptied): ask about all.
        known = _known(cursor, candidates, {})
        decision = decide(candidates, known)
        muted = _count_repeats(cursor, candidates, decision) or frozenset()
    seen: dict[int, list[Candidate]] = {index: [candidates[index]] for index in decision.news}
    for repeat, index in decision.repeats_of_news.items():
        seen[index].append(candidates[repeat])
    ids = _insert_alerts(cursor, seen)
    _silence(cursor, {ids[index]: _silence_of(those) for index, those in seen.items()})
    to_tell = [
        ToTell(ids[index], candidates[index].severity, _targets(those))
        for index, those in seen.items()
    ]
    to_tell += _told_late(judged, decision, known)
    to_tell += _heard_again(cursor, candidates, decision, muted)
    queued = queue_messages(cursor, to_tell)
    return Committed(
        alerts=ids,
        repeats=len(decision.repeats_of_news) + len(decision.repeats_of_known),
        dead_letters=len(judged.dead_letters),
        known={candidates[i].fingerprint: (ids[i], candidates[i].timestamp) for i in ids},
        channels=queued.channels,
        told=queued.told,
    )


def _check_silences(cursor: Cursor, seen: SilencesSeen | None) -> None:
    """Checks that the silences are those that were looked at, at the time that we think it is."""
    if seen is None:
        return
    execute_prepared(cursor, "silences_version", {})
    version, now = cursor.fetchone() or ("", 0.0)
    if version != seen.version:
        raise StaleSilencesError("empezó o terminó un silencio mientras se juzgaba")
    # Our clock stands still while the machine sleeps, and the server's may be set.
    if abs(now - time.monotonic() - seen.ahead) > _CLOCKS_DIFFER:
        raise StaleSilencesError("el reloj de alert_db no es el de cuando se miraron los silencios")


def _targets(those: Sequence[Candidate]) -> tuple[str, ...]:
    if len(those) == 1:
        return those[0].targets
    return tuple(dict.fromkeys(name for candidate in those for name in candidate.targets))


def _silence_of(those: Sequence[Candidate]) -> int | None:
    """Returns the silence that keeps an alert and all its repeats from people, or None."""
    silences = [candidate.silence for candidate in those]
    return None if None in silences else silences[0]


def _silence(cursor: Cursor, silences: Mapping[int, int | None]) -> None:
    """Notes by which silence nobody was told of new alerts, by their ids."""
    silenced = {alert_id: number for alert_id, number in silences.items() if number is not None}
    if silenced:
        arguments = {"id": numbers(silenced), "silence": numbers(silenced.values())}
        cursor.execute(query("alerts_silenced"), arguments)


def _heard_again(
    cursor: Cursor, candidates: Sequence[Candidate], decision: Decision, muted: frozenset[int]
) -> list[ToTell]:
    """Returns who is told now of alerts that began under a silence, which is over."""
    heard = {
        index: alert_id
        for index, alert_id in decision.repeats_of_known.items()
        if alert_id in muted and candidates[index].silence is None
    }
    if heard:
        cursor.execute(query("alerts_heard"), {"ids": numbers(heard.values())})
    return [
        ToTell(alert_id, candidates[index].severity, candidates[index].targets)
        for index, alert_id in heard.items()
    ]


def _told_late(judged: Judged, decision: Decision, known: Known) -> list[ToTell]:
    """Returns who is to be told now of alerts that were too old to be told when they began."""
    first = {alert.identity: alert.first for alerts in known.values() for alert in alerts}
    late = [
        (alert_id, judged.candidates[index])
        for index, alert_id in decision.repeats_of_known.items()
        if first[alert_id] < judged.quiet_before <= judged.candidates[index].timestamp
    ]
    return [ToTell(alert_id, repeat.severity, repeat.targets) for alert_id, repeat in late]


def _known(
    cursor: Cursor, candidates: Sequence[Candidate], cached: Mapping[bytes, tuple[int, float]]
) -> dict[bytes, list[KnownAlert]]:
    """Returns alerts that candidates may repeat; asks the database only about what the cache lacks.

    A cached alert counts only for a repeat of it: whether something is news, the database says.
    """
    known: dict[bytes, list[KnownAlert]] = {}
    asked: list[Candidate] = []
    for candidate in candidates:
        hint = cached.get(candidate.fingerprint)
        if hint is not None and is_repeat(hint[1], candidate.timestamp, candidate.window):
            known[candidate.fingerprint] = [KnownAlert(*hint)]
        else:
            asked.append(candidate)
    if not asked:
        return known
    spans: dict[bytes, tuple[float, float]] = {}
    for candidate in asked:
        reach = max(candidate.window, TWIN_WINDOW)
        after, before = candidate.timestamp - reach, candidate.timestamp + reach
        known_span = spans.get(candidate.fingerprint, (after, before))
        spans[candidate.fingerprint] = (min(after, known_span[0]), max(before, known_span[1]))
    execute_prepared(
        cursor,
        "alerts_known",
        {
            "fingerprint": blobs(spans),
            "after": numbers(after for after, _ in spans.values()),
            "before": numbers(before for _, before in spans.values()),
        },
    )
    for fingerprint, alert_id, timestamp, *seen in cursor:
        alert = KnownAlert(alert_id, timestamp, (seen[0], seen[1], seen[2]))
        known.setdefault(bytes(fingerprint), []).append(alert)
    return known


def _count_repeats(
    cursor: Cursor, candidates: Sequence[Candidate], decision: Decision
) -> frozenset[int] | None:
    """Counts repeats on their alerts; returns those that are silenced.

    None, having changed nothing, when one of them does not exist.
    """
    if not decision.repeats_of_known:
        return frozenset()
    times: dict[int, Seen] = {}
    last: dict[int, tuple[float, bytes]] = {}
    for index, alert_id in decision.repeats_of_known.items():
        candidate = candidates[index]
        times[alert_id] = plus_one(times.get(alert_id, NONE_SEEN), candidate.source)
        seen = (candidate.timestamp, candidate.fingerprint)
        last[alert_id] = max(last.get(alert_id, seen), seen)
    cursor.execute("SAVEPOINT repeats")
    execute_prepared(
        cursor,
        "alerts_repeat",
        {
            "id": numbers(times),
            "eventos": numbers(counts[Road.EVENTOS] for counts in times.values()),
            "stream": numbers(counts[Road.STREAM] for counts in times.values()),
            "push": numbers(counts[Road.PUSH] for counts in times.values()),
            "last_seen": numbers(last[i][0] for i in times),
            "fingerprint": blobs(last[i][1] for i in times),
        },
    )
    counted = cursor.fetchall()
    if len(counted) != len(times):
        cursor.execute("ROLLBACK TO SAVEPOINT repeats")
        return None
    return frozenset(alert_id for alert_id, is_silenced in counted if is_silenced)


def _insert_alerts(cursor: Cursor, seen: Mapping[int, Sequence[Candidate]]) -> dict[int, int]:
    """Inserts alerts; `seen` has what each is made of and its repeats. Returns their ids."""
    if not seen:
        return {}
    roads = [_roads(those) for those in seen.values()]
    rows = [those[0] for those in seen.values()]
    said = [candidate.words.say() for candidate in rows]
    execute_prepared(
        cursor,
        "alerts_insert",
        {
            "severity": texts(c.severity.key for c in rows),
            "message": texts(words.message for words in said),
            "channel": texts(c.channel for c in rows),
            "event_data": texts(msgspec.json.encode(c.event_data).decode() for c in rows),
            "timestamp": numbers(c.timestamp for c in rows),
            "title": texts(words.title for words in said),
            "rule": texts(c.rule for c in rows),
            "eventos": numbers(counts[Road.EVENTOS] for counts in roads),
            "stream": numbers(counts[Road.STREAM] for counts in roads),
            "push": numbers(counts[Road.PUSH] for counts in roads),
            "last_seen": numbers(
                those[0].timestamp if len(those) == 1 else max(c.timestamp for c in those)
                for those in seen.values()
            ),
            "source": texts(c.source for c in rows),
            "event_id": numbers(c.event_id for c in rows),
            "instance_id": texts(c.instance_id for c in rows),
            "fingerprint": blobs(c.fingerprint for c in rows),
            "words": texts(map(_own_words, said)),
        },
    )
    return dict(zip(seen, (row[0] for row in cursor.fetchall()), strict=True))


def _roads(those: Sequence[Candidate]) -> Seen:
    if len(those) == 1:
        return once(those[0].source)
    seen = NONE_SEEN
    for candidate in those:
        seen = plus_one(seen, candidate.source)
    return seen


def _own_words(said: Said) -> str | None:
    """Returns the words of channels with others, as JSON; None where there are none."""
    if not said.channels:
        return None
    words = {
        name: {"title": title, "message": message}
        for name, (title, message) in said.channels.items()
    }
    return msgspec.json.encode(words).decode()


def insert_dead_letters(cursor: Cursor, letters: Sequence[DeadLetter]) -> None:
    """Stores dead letters, each event's once."""
    if not letters:
        return
    columns = ("source", "event_id", "channel", "reason", "size", "timestamp", "instance_id")
    arguments = {name: [getattr(letter, name) for letter in letters] for name in columns}
    cursor.execute(query("dead_letters_insert"), arguments)


def take_dead_letters(cursor: Cursor, ids: Sequence[int]) -> None:
    """Removes dead letters, whose events are judged in the same transaction.

    Raises:
        NoLetterError: one of them is gone.
    """
    cursor.execute(query("dead_letters_take"), {"ids": list(ids)})
    if cursor.rowcount != len(ids):
        raise NoLetterError("otra persona ya lo reintentó, o se borró por antiguo")
