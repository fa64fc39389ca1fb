"""`alerts.sh suggest-thresholds`: what rules compared, and how often each limit would speak."""

from __future__ import annotations

import time
from collections.abc import Iterator
from functools import partial
from typing import Any, NamedTuple

import click
from rich.table import Table
from rich.text import Text

from ..domain.formats import Formats
from ..domain.measured import SHARES, alerts_at, limits, per_day
from ..domain.model import RawEvent, Severity
from ..domain.thresholds import Thresholds, fitting
from ..measure import Measured, Measuring
from ..settings import Settings
from ..utils.history import find_span, thresholds_before
from ..utils.replays import replayed
from .data import Database, load_settings, reading
from .output import (
    console,
    json_option,
    line,
    print_json,
    replay_progress,
    severity_text,
    table,
)
from .times import read_moment, since_option


class Tried(NamedTuple):
    """A limit, as it would stand in the configuration.

    Attributes:
        share: of all numbers that reach it, where it was found by that; None: it is in use.
        rate: alerts a day that it would have made.
    """

    share: float | None
    limit: float
    rate: float


class Suggestion(NamedTuple):
    """What is known about one level of a rule.

    Attributes:
        threshold: its name; None where the rule has a number of its own.
        values: how many numbers the rule compared.
    """

    rule: str
    severity: Severity
    threshold: str | None
    values: int
    tried: list[Tried]


@click.command("suggest-thresholds")
@since_option
@json_option("Una lista JSON.")
def suggest_thresholds(since: str, as_json: bool) -> None:
    """Los valores reales de cada regla, y cuántas alertas al día habría dado cada límite.

    No cambia nada: un umbral se cambia en alert_manager.yaml.
    """
    loaded = load_settings()
    settings = loaded.settings
    now = time.time()
    begin = read_moment(since, now, settings.alert_config.formats())
    with reading(Database.of(loaded)) as (dsn, corec_db, alert_db), replay_progress() as on_rows:
        thresholds, _ = fitting(
            settings.alert_config.bounds(),
            thresholds_before(alert_db, now),
            settings.alert_config.threshold_fault,
        )
        work = partial(_share, settings, now)
        done = replayed(dsn, find_span(corec_db, begin), settings, work, on_rows)
    measured = Measured.of(done.results)
    measured.first = max(measured.first, begin or 0.0)  # one broken clock makes no year of it
    found = list(_suggestions(settings, thresholds, measured, now))
    if as_json:
        print_json([_as_json(suggestion) for suggestion in found])
    elif not any(suggestion.values for suggestion in found):
        click.echo("En ese tiempo ninguna regla comparó un valor.")
    else:
        console().print(_table(found, settings.alert_config.formats()))


def _share(settings: Settings, now: float, pages: Iterator[list[RawEvent]]) -> Measured:
    """Measures pages, wherever this runs."""
    measuring = Measuring(settings)
    for page in pages:
        measuring.feed(page, now)
    return measuring.measured


def _suggestions(
    settings: Settings, thresholds: Thresholds, measured: Measured, now: float
) -> Iterator[Suggestion]:
    values = {name: threshold.value for name, threshold in thresholds.items()}
    for spec in settings.alert_config.specs():
        if spec.measure is None:
            continue
        series = measured.series[spec.name]
        for severity, limit in sorted(spec.measure.levels):
            current = limit.resolve(values)
            shares = [(None, current), *limits(series, spec.measure)]
            clear = spec.measure.clear
            end = None if clear is None else clear.resolve(values)
            tried = [
                Tried(
                    share,
                    -number if limit.negate else number,
                    per_day(
                        alerts_at(series, spec.measure, number, end, spec.window),
                        measured.first,
                        now,
                    ),
                )
                for share, number in shares
            ]
            yield Suggestion(spec.name, severity, limit.name, len(series.values), tried)


def _as_json(suggestion: Suggestion) -> dict[str, Any]:
    return {
        "rule": suggestion.rule,
        "severity": suggestion.severity.key,
        "threshold": suggestion.threshold,
        "values": suggestion.values,
        "limits": [
            {"share": tried.share, "limit": tried.limit, "alerts_per_day": tried.rate}
            for tried in suggestion.tried
        ],
    }


def _table(found: list[Suggestion], formats: Formats) -> Table:
    made = table("umbral", "regla", "severidad")
    for name in ("valores", "ahora", "lo alcanza 1 de cada 10", "de cada 100", "de cada 1000"):
        made.add_column(name, justify="right")
    for suggestion in found:
        shown = [Text(_shown(tried, formats)) for tried in suggestion.tried]
        made.add_row(
            line(suggestion.threshold or "-"),
            line(suggestion.rule),
            severity_text(suggestion.severity.key),
            Text(formats.number(suggestion.values)),
            *(*shown, *[Text("-")] * len(SHARES))[: 1 + len(SHARES)],
        )
    return made


def _shown(tried: Tried, formats: Formats) -> str:
    return f"{formats.number(tried.limit)} ({formats.number(round(tried.rate, 2))}/día)"
