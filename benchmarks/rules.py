"""What rules cost: microseconds an event, beside the number of rules of its channel.

    .venv/bin/python -m benchmarks.rules [--events 20000] [--rounds 5] [--json FILE]

The configuration as it ships, with more rules for `trading_results` of three kinds in turn, none
of which finds anything: a threshold of a number, one under a condition, and a text that is looked
for. Processor time of decoding and judging, in one thread, without databases. Prints medians and
writes JSON. Takes about half a minute.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from benchmarks.loads import LOADS
from benchmarks.loads import events as made_events
from src.plugins.alert_manager.domain.model import RawEvent
from src.plugins.alert_manager.judge import BatchJudge
from src.plugins.alert_manager.settings import check
from tests.plugins.conftest import shipped_config

MORE = (0, 10, 100, 1000)  # rules
_BATCH = 5000  # events


def main() -> int:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=None, help="where to write the figures")
    arguments = parser.parse_args()
    events = [
        RawEvent("eventos", number, channel, payload, moment, "corec1", len(payload))
        for number, (channel, payload, moment) in enumerate(
            made_events(LOADS["1 %"], arguments.events, time.time()), start=1
        )
    ]
    judges = {more: _judge(more) for more in MORE}
    found: dict[int, list[float]] = {more: [] for more in MORE}
    for _ in range(arguments.rounds):
        for more, judge in judges.items():
            # A thousand rules cost a hundred times as much: fewer events tell it as well.
            found[more].append(_took(judge, events[: max(500, len(events) // max(1, more // 10))]))
    print(f"{'more rules':>10} {'us an event':>12}")
    for more, times in found.items():
        print(f"{more:10} {statistics.median(times):12.1f}")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    return 0


def _judge(more: int) -> BatchJudge:
    config = shipped_config()
    config["alert_config"]["rules"] += [_rule(number) for number in range(more)]
    return BatchJudge(check(config))


def _rule(number: int) -> dict[str, Any]:
    common: dict[str, Any] = {
        "name": f"regla_{number}",
        "channel": "trading_results",
        "title": "{{ symbol }}",
        "message": "{{ symbol }}: {{ valor }}",
    }
    match number % 3:
        case 0:
            return {**common, "field": "price", "compare": ">", "levels": {"alta": 10_000_000}}
        case 1:
            other = {"exchange": f"bolsa {number}"}
            return {
                **common,
                "when": other,
                "field": "fee",
                "compare": ">",
                "levels": {"media": 10},
            }
        case _:
            when: dict[str, Any] = {"strategy": {"matches": f"^estrategia {number}$"}}
            return {**common, "when": when, "severity": "baja"}


def _took(judge: BatchJudge, events: list[RawEvent]) -> float:
    """Returns microseconds of processor time an event."""
    began, now = time.thread_time(), time.time()
    for first in range(0, len(events), _BATCH):
        page = events[first : first + _BATCH]
        assert judge.judge(page, now).events == len(page)
    return (time.thread_time() - began) / len(events) * 1e6


if __name__ == "__main__":
    sys.exit(main())
