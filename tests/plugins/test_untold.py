"""What was stored a moment ago and is not told yet, whichever is heard of first: commit or send."""

from __future__ import annotations

import time

import pytest
from msgspec.structs import replace

from src.plugins.alert_manager import untold
from src.plugins.alert_manager.domain.model import Severity
from src.plugins.alert_manager.domain.outcome import Candidate, Committed, Said
from src.plugins.alert_manager.untold import Untold
from tests.support.pace import seconds

LOSS = Candidate(
    "eventos",
    1,
    "trading_results",
    "perdida",
    Severity.CRITICA,
    Said("Pérdida", "m"),
    {},
    1_760_000_000.0,
    None,
    b"f" * 16,
    3600.0,
    ("discord", "email"),
)
STORED = Committed({0: 7}, 0, 0, {})


def left(of: Untold) -> list[tuple[str, ...]]:
    return [candidate.targets for candidate in of.take()]


@pytest.fixture
def waiting() -> Untold:
    return Untold()


def test_what_nobody_sent_is_left(waiting: Untold) -> None:
    waiting.stored([LOSS], STORED)
    assert left(waiting) == [("discord", "email")]
    assert left(waiting) == []


def test_what_was_sent_before_the_commit_was_heard_of_is_not_left(waiting: Untold) -> None:
    waiting.sending("discord", [7])
    waiting.sent("discord", [7], to_be_retried=False)
    waiting.stored([LOSS], STORED)
    assert left(waiting) == [("email",)]


def test_what_is_being_sent_when_the_commit_is_heard_of_stays_until_it_fails(
    waiting: Untold,
) -> None:
    waiting.sending("discord", [7])
    waiting.stored([LOSS], STORED)
    assert left(waiting) == [("email",)]
    waiting.sent("discord", [7], to_be_retried=True)
    assert left(waiting) == [("discord",)]


def test_what_was_told_without_alert_db_is_not_left(waiting: Untold) -> None:
    waiting.stored([LOSS], STORED)
    waiting.marked([(7, "discord")])
    assert left(waiting) == [("email",)]
    waiting.marked([(7, "discord"), (7, "email")])  # before the commit is heard of
    waiting.stored([LOSS], STORED)
    assert left(waiting) == []


def test_what_failed_before_the_commit_was_heard_of_is_left(waiting: Untold) -> None:
    waiting.sending("discord", [7])
    waiting.sent("discord", [7], to_be_retried=True)
    waiting.stored([LOSS], STORED)
    assert left(waiting) == [("discord", "email")]


def test_the_same_id_much_later_is_another_alert(
    waiting: Untold, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a table that was emptied."""
    waiting.sending("discord", [7])
    waiting.sent("discord", [7], to_be_retried=False)
    later = time.monotonic() + untold.MAX_AGE + 1.0
    monkeypatch.setattr(time, "monotonic", lambda: later)
    waiting.stored([LOSS], STORED)
    assert left(waiting) == [("discord", "email")]


def test_it_remembers_no_more_than_it_needs(waiting: Untold) -> None:
    for number in range(10_000):
        waiting.sending("discord", [number])
    assert len(waiting._early) <= 2000


def test_who_waits_for_people_outlives_what_machines_have_still_to_tell(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In a flood the log is slow."""
    monkeypatch.setattr(untold, "_MOST", 3)
    waiting = Untold(machines=["log"])
    waiting.stored([LOSS], STORED)
    for number in range(8, 14):
        dull = replace(LOSS, targets=("log",), event_id=number)
        waiting.stored([dull], Committed({0: number}, 0, 0, {}))
    found = waiting.take()
    assert [candidate.targets for candidate in found] == [("discord", "email"), ("log",), ("log",)]
    assert [candidate.event_id for candidate in found] == [1, 12, 13]


def test_a_storm_that_people_are_told_of_takes_no_time() -> None:
    """It is on the event loop."""

    def storm() -> None:
        waiting = Untold(machines=["log"])
        for first in (0, 5000):
            alerts = {index: 1 + first + index for index in range(5000)}
            waiting.stored([LOSS] * 5000, Committed(alerts, 0, 0, {}))
        assert len(waiting.take()) == untold._MOST

    assert seconds(storm) < 0.3  # 1.4 s, when all were looked through for each
