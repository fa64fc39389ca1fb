"""When and how fast a channel tells: token buckets, quiet hours, digests. No I/O."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from src.plugins.alert_manager.domain.delivery import Message
from src.plugins.alert_manager.domain.digest import digest
from src.plugins.alert_manager.domain.model import Severity
from src.plugins.alert_manager.domain.pacing import Pace, TokenBucket
from src.plugins.alert_manager.interval_settings import ActiveSettings
from tests.plugins.channel_messages import MESSAGE

MEXICO = "America/Mexico_City"
HOUR, DAY = 3600.0, 86400.0
OFFICE = Pace(active=ActiveSettings(weekdays=["lun-vie"], hours=["08:00-22:00"]).intervals(MEXICO))


def moment(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(MEXICO)).timestamp()


@given(
    st.floats(1, 1000),
    st.integers(1, 50),
    st.lists(st.floats(0, 5), min_size=1, max_size=200),
)
def test_no_more_messages_than_the_bucket_allows(
    per_minute: float, burst: int, pauses: list[float]
) -> None:
    bucket, now, sent = TokenBucket.full(per_minute, burst), 100.0, []
    bucket = replace(bucket, at=now)
    for pause in pauses:
        now += pause
        if bucket.wait(now) == 0.0:
            bucket = bucket.taken(now)
            sent.append(now)
    for first in range(len(sent)):
        for last in range(first, len(sent)):
            allowed = burst + (sent[last] - sent[first]) * per_minute / 60
            assert last - first + 1 <= allowed + 1e-6
    assert bucket.wait(now) <= 60 / per_minute + 1e-6
    assert bucket.wait(now + bucket.wait(now) + 1e-6) == 0.0


@pytest.mark.parametrize(
    ("clock", "quiet"),
    [
        ("2026-11-23T07:59:59", True),  # a Monday
        ("2026-11-23T08:00:00", False),
        ("2026-11-23T21:59:59", False),
        ("2026-11-23T22:00:01", True),
        ("2026-11-22T12:00:00", True),
    ],
)
def test_quiet_hours(clock: str, quiet: bool) -> None:
    assert OFFICE.is_quiet(moment(clock)) is quiet
    assert Pace().is_quiet(moment(clock)) is False


def test_what_waited_through_a_quiet_weekend_is_not_too_old_at_its_end() -> None:
    monday = moment("2026-11-23T08:00:00")
    friday_night = moment("2026-11-20T22:00:00")
    assert OFFICE.max_age(DAY, monday) == monday - friday_night
    # A day of being told later, it is.
    assert OFFICE.max_age(DAY, moment("2026-11-24T08:00:00")) == DAY
    assert OFFICE.max_age(DAY, moment("2026-11-25T12:00:00")) == DAY
    assert Pace().max_age(DAY, monday) == DAY


def many(severities: list[Severity]) -> list[Message]:
    worst_first = sorted(severities, reverse=True)
    return [
        replace(MESSAGE, alert_id=n, severity=s, title=f"título {n}", rule=s.key)
        for n, s in enumerate(worst_first)
    ]


@given(st.lists(st.sampled_from(Severity), min_size=1, max_size=300))
def test_a_digest_counts_all_and_names_the_worst(severities: list[Severity]) -> None:
    messages = many(severities)
    found = digest(messages)
    assert found.title.startswith(f"{len(messages)} alertas juntas: ")
    assert found.severity == max(severities)
    counts = [line.split(" × ")[0] for line in found.details if " × " in line]
    assert sum(map(int, counts)) == len(messages)
    in_full = [line for line in found.details if "El disyuntor de trading_execution" in line]
    assert len(in_full) == min(10, len(messages))
    critical = [m for m in messages if m.severity is Severity.CRITICA][:210]
    for message in critical:
        assert any(f"(alerta {message.alert_id})" in line for line in found.details)


def test_a_digest_says_what_ended() -> None:
    messages = [replace(m, recovered=m.alert_id > 0) for m in many([Severity.ALTA] * 3)]
    found = digest(messages)
    assert found.title == "3 alertas juntas: 1 alta, 2 que se resolvieron"
    assert not found.recovered
    assert digest(messages[1:]).recovered


def test_of_very_many_critical_ones_the_rest_is_counted() -> None:
    found = digest(many([Severity.CRITICA] * 1000))
    assert any(line.startswith("… y 800 críticas más: ") for line in found.details)
    assert len(found.details) < 220
