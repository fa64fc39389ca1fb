"""Alerts to fill an alert_db with, and to commit: as retention is measured with."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from src.plugins.alert_manager.domain.model import Severity
from src.plugins.alert_manager.domain.outcome import Candidate, Judged, Said
from tests.plugins.conftest import World

# Alerts of `days` days that ended `ended` days ago, evenly: each told by three channels.
FILL = """
    WITH a AS (
        INSERT INTO alerts (severity, title, message, channel, rule, event_data, timestamp,
                            last_seen, status, source, event_id, fingerprint, created_at,
                            from_eventos)
        SELECT (%(severities)s::text[])[kind], (%(titles)s::text[])[kind] || ' de user' || n %% 50,
               repeat('user1 retiró $600.00 del pool (umbral: $500.00). ', 3),
               (%(channels)s::text[])[kind], (%(rules)s::text[])[kind],
               jsonb_build_object('amount', n, 'action', 'withdraw', 'user_id', 'user' || n %% 50,
                                  'nota', repeat('x', 150)),
               extract(epoch FROM at), extract(epoch FROM at), (%(states)s::text[])[kind],
               'eventos', n, decode(md5(n || 'f' || random()), 'hex'), at, 1
          FROM (SELECT n, 1 + width_bucket(random(), %(until)s::float8[]) AS kind,
                       now() - make_interval(secs => %(ended)s * 86400
                              + %(days)s * 86400.0 * (%(count)s - n) / %(count)s) AS at
                  FROM generate_series(1, %(count)s) AS n) AS t ORDER BY n RETURNING id, created_at
    ), n AS (
        INSERT INTO notifications (alert_id, channel, severity, status, attempts, created_at,
                                   queued_at, finished_at)
        SELECT id, channel, 3, 'sent', 1, created_at, created_at, created_at
          FROM a CROSS JOIN (VALUES ('log'), ('alert_data'), ('discord')) AS c (channel)
         ORDER BY id RETURNING id, created_at
    ), h AS (
        INSERT INTO alert_history (alert_id, at, action, who)
        SELECT id, created_at, 'reconocida', 'ana' FROM a WHERE id %% 10 = 0
    )
    INSERT INTO deliveries (notification_id, attempt, ended_at, seconds, status, answer)
    SELECT id, 1, created_at, 0.1, 'sent', '204' FROM n
"""


class Kind(NamedTuple):
    """What some of the alerts are; `weight` is how many, in proportion to the other kinds."""

    weight: float
    severity: str
    rule: str = "retiro"
    channel: str = "capital_data"
    title: str = "Retiro de $600.00"
    status: str = "abierta"


ALIKE = (Kind(1, "baja"), Kind(1, "media"), Kind(1, "alta"))


def fill(
    world: World, count: int, days: float, ended: float = 0.0, kinds: Sequence[Kind] = ALIKE
) -> None:
    """Adds alerts, evenly over `days` days that ended `ended` days ago."""
    sums = list(itertools.accumulate(kind.weight for kind in kinds))
    arguments = {
        "count": count,
        "days": days,
        "ended": ended,
        "until": [part / sums[-1] for part in sums[:-1]],
        "severities": [kind.severity for kind in kinds],
        "rules": [kind.rule for kind in kinds],
        "channels": [kind.channel for kind in kinds],
        "titles": [kind.title for kind in kinds],
        "states": [kind.status for kind in kinds],
    }
    world.alert(FILL, arguments)


def candidates() -> Iterator[Judged]:
    """Yields batches of one new alert that three channels tell."""
    for number in itertools.count():
        now = time.time()
        yield Judged(
            1,
            (
                Candidate(
                    source="benchmark",
                    event_id=number,
                    channel="capital_data",
                    rule="retiro",
                    severity=Severity.ALTA,
                    words=Said("Retiro", "user1 retiró $600.00 del pool (umbral: $500.00)."),
                    event_data={"amount": number, "action": "withdraw", "user_id": "user1"},
                    timestamp=now,
                    instance_id="corec1",
                    fingerprint=number.to_bytes(16, "big"),
                    window=3600.0,
                    targets=("log", "alert_data", "discord"),
                ),
            ),
        )
