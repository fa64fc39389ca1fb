"""`alerts.sh backtest`: what a configuration would have told of the real events of a time."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click
from psycopg2.extensions import connection as Connection  # noqa: N812
from rich.table import Table
from rich.text import Text

from ..absences import GRACE
from ..domain.dedupe import TWIN_WINDOW, Known
from ..domain.formats import Formats
from ..domain.model import RawEvent, Severity
from ..domain.thresholds import StoredThresholds
from ..domain.verdicts import Comparison, Told, Verdict, compare
from ..judge import BatchJudge
from ..replay import Replay, warm_up
from ..settings import REPORTS, Loaded
from ..utils.history import Happened, find_span, happened, known_before, thresholds_before
from ..utils.replays import replayed
from .data import Database, load_settings, reading
from .output import (
    console,
    json_option,
    line,
    print_json,
    replay_progress,
    severity_text,
    shown_time,
    table,
)
from .plot import need_folder, need_matplotlib, save_picture
from .times import read_moment, since_option


@dataclass(frozen=True, slots=True)
class Backtest:
    """What a replay came to; times in epoch seconds."""

    since: float
    until: float
    events: int
    seconds: float
    dead_letters: int
    before: Happened
    after: list[Told]

    @property
    def comparison(self) -> Comparison:
        """What happened beside what would have."""
        return compare(self.before.told, self.after)

    @property
    def span(self) -> tuple[float, float]:
        """Begin and end of what there is to see."""
        times = [told.timestamp for told in (*self.before.told, *self.after)]
        return self.since or min(times, default=self.until), self.until


@click.command()
@since_option
@click.option(
    "--config",
    "file",
    type=click.Path(path_type=Path),
    help="Otro alert_manager.yaml; sin él, el que está en uso.",
)
@click.option("--plot", type=click.Path(path_type=Path), help="Guarda una imagen PNG por tiempo.")
@click.option(
    "--limit",
    default=20,
    show_default=True,
    type=click.IntRange(0),
    help="Cuántos eventos que cambian se muestran.",
)
@json_option("Un objeto JSON, con todos los que cambian.")
def backtest(since: str, file: Path | None, plot: Path | None, limit: int, as_json: bool) -> None:
    """Repite los eventos reales con una configuración, sin guardar ni enviar nada.

    Muestra las alertas que hubo y las que habría, por regla y severidad, y qué eventos cambian.
    """
    if plot is not None:
        need_matplotlib()
        need_folder(plot)
    loaded = load_settings(file)
    begin = read_moment(since, time.time(), loaded.settings.alert_config.formats())
    with reading(Database.of(load_settings())) as databases:
        result = _run(loaded, begin, *databases)
    comparison = result.comparison
    formats = loaded.settings.alert_config.formats()
    if as_json:
        print_json(_as_json(result, comparison))
    else:
        _print(result, comparison, formats, limit)
    if plot is not None:
        save_picture(plot, result.before.told, result.after, result.span, formats.zone)
        click.echo(f"Imagen: {plot}", err=True)


def _run(
    loaded: Loaded, since: float | None, dsn: str, corec_db: Connection, alert_db: Connection
) -> Backtest:
    now = started = time.time()
    settings = loaded.settings
    # Rules are told first what they would have remembered by then.
    begin = None if since is None else since - warm_up(settings.alert_config.specs())
    thresholds = thresholds_before(alert_db, begin or 0.0)
    reach = max((spec.window for spec in settings.alert_config.specs()), default=0.0)
    known = {} if begin is None else known_before(alert_db, begin, max(reach, TWIN_WINDOW))
    work = partial(_share, loaded, thresholds, known, now)
    span = find_span(corec_db, begin)
    with replay_progress() as on_rows:
        done = replayed(dsn, span, settings, work, on_rows)
    told = sorted((t for share in done.results for t in share.told), key=lambda t: t.timestamp)
    letters = sum((share.dead_letters for share in done.results), Counter[str]())
    # Commands are in every share.
    letters[REPORTS] //= len(done.results)
    from_time = since or 0.0
    return Backtest(
        since=from_time,
        until=now,
        events=done.rows,
        seconds=time.time() - started,
        dead_letters=letters.total(),
        before=happened(alert_db, from_time, now, span.last),
        after=[t for t in told if t.timestamp >= from_time],
    )


class _Share(NamedTuple):
    told: list[Told]
    dead_letters: Counter[str]  # by channel


def _share(
    loaded: Loaded,
    thresholds: StoredThresholds,
    known: Known,
    now: float,
    pages: Iterator[list[RawEvent]],
) -> _Share:
    """Replays pages, wherever this runs."""
    replay = Replay(BatchJudge(loaded), thresholds, known)
    for page in pages:
        replay.feed(page, now)
    replay.end(now - GRACE)
    return _Share(replay.told, replay.dead_letters)


def _as_json(result: Backtest, comparison: Comparison) -> dict[str, Any]:
    return {
        "since": result.since,
        "until": result.until,
        "events": result.events,
        "seconds": result.seconds,
        "dead_letters": result.dead_letters,
        "other_sources": result.before.elsewhere,
        "rules": [
            {"rule": rule, "severity": severity.key, "happened": before, "replayed": after}
            for (rule, severity), (before, after) in comparison.counts.items()
        ],
        "changed": [
            {
                "rule": verdict.rule,
                "timestamp": verdict.timestamp,
                "event_id": verdict.event_id,
                "title": verdict.title,
                "happened": None if verdict.before is None else verdict.before.key,
                "replayed": None if verdict.after is None else verdict.after.key,
            }
            for verdict in comparison.changed
        ],
    }


def _print(result: Backtest, comparison: Comparison, formats: Formats, limit: int) -> None:
    output = console()
    before = ", con los del día anterior" if result.since else ""
    click.echo(f"{formats.number(result.events)} eventos{before}, en {result.seconds:.1f} s.")
    if comparison.counts:
        output.print(_counts(comparison))
    else:
        click.echo("De estos eventos no hubo alertas, ni las habría.")
    if result.dead_letters:
        click.echo(f"{result.dead_letters} eventos no se entienden.")
    if result.before.elsewhere:
        click.echo(
            f"Además hubo {result.before.elsewhere} alertas de eventos que no están en eventos."
        )
    if not comparison.changed:
        click.echo("Ningún evento cambia.")
        return
    click.echo(f"\n{len(comparison.changed)} eventos cambian:")
    output.print(_changes(comparison.changed[:limit], formats))
    if len(comparison.changed) > limit:
        click.echo(f"… y {len(comparison.changed) - limit} más: --limit o --json")


def _counts(comparison: Comparison) -> Table:
    made = table("regla", "severidad")
    for name in ("hubo", "habría", "diferencia"):
        made.add_column(name, justify="right")
    sums = [0, 0]
    for (rule, severity), (before, after) in comparison.counts.items():
        sums = [sums[0] + before, sums[1] + after]
        made.add_row(line(rule), severity_text(severity.key), *_numbers(before, after))
    made.add_row(Text("total", style="bold"), "", *_numbers(*sums))
    return made


def _numbers(before: int, after: int) -> tuple[str, str, str]:
    return str(before), str(after), f"{after - before:+d}" if after != before else ""


def _changes(verdicts: tuple[Verdict, ...], formats: Formats) -> Table:
    made = table("evento", f"hora ({formats.zone})", "regla", "hubo", "habría", "título")
    for verdict in verdicts:
        made.add_row(
            Text(str(verdict.event_id or "-")),
            Text(shown_time(verdict.timestamp, formats)),
            line(verdict.rule),
            _severity(verdict.before),
            _severity(verdict.after),
            line(verdict.title),
        )
    return made


def _severity(severity: Severity | None) -> Text:
    return Text("-") if severity is None else severity_text(severity.key)
