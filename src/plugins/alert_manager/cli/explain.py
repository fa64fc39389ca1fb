"""`alerts.sh explain`: what the rules make of an event, without storing or sending anything."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import Any

import click
import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812
from rich.text import Text

from ..domain.decode import DecodeError
from ..domain.explain import Explained
from ..domain.model import RawEvent, StateKey, States
from ..domain.outcome import Candidate
from ..domain.redact import redact_text
from ..domain.thresholds import StoredThresholds
from ..judge import BatchJudge
from ..settings import Loaded
from ..utils.states import load_states
from ..utils.thresholds import load_thresholds
from .data import NOT_FOUND, Database, asked, load_settings
from .output import console, json_option, line, print_json, severity_text


@click.command()
@click.option("--canal", required=True, help="El canal de CoreC, por ejemplo trading_results.")
@click.option("--payload", required=True, help="El evento, en JSON o como lo escribe un plugin.")
@json_option()
def explain(canal: str, payload: str, as_json: bool) -> None:
    """Qué reglas miran un evento, por qué dan o no una alerta, y a quién se avisaría."""
    loaded = load_settings()
    judge = judge_of(loaded)
    raw = RawEvent("explain", None, canal, payload, time.time(), None, len(payload))
    if canal not in loaded.settings.watched():
        watched = ", ".join(loaded.settings.watched())
        click.echo(f"El canal {canal} no se vigila; se vigilan: {watched}", err=True)
        sys.exit(NOT_FOUND)
    try:
        explained = judge.explain(raw, time.time())
    except DecodeError as error:
        click.echo(f"El evento no se entiende: {redact_text(str(error))}", err=True)
        sys.exit(NOT_FOUND)
    judged = judge.judge([raw], time.time())
    judged = judge.track(judged, _states(loaded, judged.keys))
    if as_json:
        print_json(_as_json(explained, judged.candidates))
        return
    _print(explained, judged.candidates)


def judge_of(loaded: Loaded) -> BatchJudge:
    """Returns what judges by a configuration, and by the thresholds that commands have set."""
    judge = BatchJudge(loaded)
    judge.use(_thresholds(loaded))
    return judge


def why(loaded: Loaded, alert: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns what an alert's rule says of its event today, each with whether it holds.

    Nothing where the configuration has no such rule: an alert of our own, a rule that was removed.
    """
    data, moment = alert["event_data"] or {}, alert["timestamp"]
    raw = RawEvent("explain", None, alert["channel"], data, moment, None, 0)
    explained = judge_of(loaded).explain(raw, time.time())
    return [r for one in explained if one.rule == alert["rule"] for r in reasons(one)]


def reasons(explained: Explained) -> list[dict[str, Any]]:
    """Returns the reasons of a rule, as JSON."""
    return [{"text": reason.text, "holds": reason.holds} for reason in explained.reasons]


def reason_line(text: str, holds: bool) -> Text:
    """Returns a reason as people read it."""
    return Text("✓ " if holds else "✗ ").append(line(text))


def _thresholds(loaded: Loaded) -> StoredThresholds:
    def work(connection: Connection) -> StoredThresholds:
        with connection.cursor() as cursor:
            return load_thresholds(cursor)

    try:
        return asked(Database.of(loaded), work)
    except psycopg2.Error:
        click.echo("alert_db no responde: se explica con los umbrales del archivo.", err=True)
        return StoredThresholds()


def _states(loaded: Loaded, keys: frozenset[StateKey]) -> States:
    def work(connection: Connection) -> States:
        with connection.cursor() as cursor:
            return load_states(cursor, keys)

    if not keys:
        return {}
    try:
        return asked(Database.of(loaded), work)
    except psycopg2.Error:
        click.echo("alert_db no responde: se explica sin lo que las reglas recuerdan.", err=True)
        return {}


def _as_json(
    explained: list[Explained], candidates: tuple[Candidate, ...]
) -> dict[str, list[dict[str, Any]]]:
    return {
        "rules": [
            {
                "rule": one.rule,
                "found": one.found is not None,
                "reasons": reasons(one),
            }
            for one in explained
        ],
        "alerts": [
            {
                "rule": candidate.rule,
                "severity": candidate.severity.key,
                "title": said.title,
                "message": said.message,
                "channels": list(candidate.targets),
                "words": {
                    name: {"title": title, "message": message}
                    for name, (title, message) in said.channels.items()
                },
            }
            for candidate, said in ((c, c.words.say()) for c in candidates)
        ],
    }


def _print(explained: list[Explained], candidates: tuple[Candidate, ...]) -> None:
    output = console()
    told = {candidate.rule for candidate in candidates}
    for one in explained:
        mark = "sí" if one.rule in told else "recuerda" if one.found is not None else "no"
        output.print(Text(f"{one.rule}: {mark}", style="bold" if one.rule in told else ""))
        for reason in one.reasons:
            output.print(Text("  "), reason_line(reason.text, reason.holds), sep="")
    if not candidates:
        click.echo("Ninguna alerta.")
    for candidate in candidates:
        said = candidate.words.say()
        severity = severity_text(candidate.severity.key)
        output.print(Text("Alerta "), severity, line(f": {said.title}"), sep="")
        rest = [said.message]
        rest += [f"En {name}: {title}: {text}" for name, (title, text) in said.channels.items()]
        for text in (*rest, f"Avisa por: {', '.join(candidate.targets)}"):
            output.print(Text("  "), line(text), sep="")
