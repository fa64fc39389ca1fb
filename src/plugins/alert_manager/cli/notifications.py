"""`alerts.sh notifications` and `test-notify`: who was told, who is to be told again, and a try."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from typing import Any

import click
from rich.table import Table
from rich.text import Text

from ..domain.delivery import TEST, Attempt, Message, Outcome, Sent
from ..domain.formats import Formats
from ..domain.model import Severity
from ..settings import Loaded
from ..utils.channels.log import LOGGER
from ..utils.channels.registry import REPORT_CHANNELS, build
from .data import NOT_FOUND, Database, changed, find_database, load_settings, rows
from .life import report_each
from .output import (
    STATES,
    console,
    counted,
    json_option,
    line,
    print_json,
    severity_text,
    shown_time,
    table,
)

_NOT_AGAIN = "no existe, no está abandonado, o alguien se ocupa ya de su alerta"


@click.group()
def notifications() -> None:
    """Los avisos: cuáles salieron, cuáles esperan, cuáles se abandonaron."""


@notifications.command("list")
@click.option("--status", type=click.Choice(list(STATES)), help="Solo los que están así.")
@click.option("--channel", help="Solo los de un canal de aviso, por ejemplo discord.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000))
@json_option("Una lista JSON.")
def list_notifications(status: str | None, channel: str | None, limit: int, as_json: bool) -> None:
    """Los últimos avisos, el más nuevo primero."""
    database = find_database()
    arguments = {"status": status, "channel": channel, "limit": limit}
    found = rows(database, "notifications_list", arguments)
    if as_json:
        print_json(found)
    elif not found:
        click.echo("No hay avisos.")
    else:
        console().print(_table(found, database.formats))


@notifications.command("retry")
@click.argument("ids", type=int, nargs=-1, metavar="[ID…]")
@click.option("--all", "every", is_flag=True, help="Todos los abandonados.")
@click.option("--channel", help="Con --all: solo los de un canal de aviso, por ejemplo discord.")
@json_option("Una lista JSON.")
def retry_notifications(
    ids: tuple[int, ...], every: bool, channel: str | None, as_json: bool
) -> None:
    """Envía otra vez avisos abandonados: los que se nombran, o --all."""
    if bool(ids) == every:
        raise click.UsageError("Se espera o bien el ID de uno o más avisos, o bien --all.")
    database = find_database()
    arguments = {"ids": list(ids) or None, "channel": channel}
    done = changed(database, "notifications_again", arguments)
    _warn_of_unused(database, {row["channel"] for row in done})
    if ids:
        report_each(ids, done, "Aviso", "se envía otra vez", _NOT_AGAIN, as_json)
        return
    if as_json:
        print_json([{"id": row["id"], "done": True} for row in done])
    else:
        click.echo(f"{counted(len(done), 'aviso se envía', 'avisos se envían')} otra vez.")
    if not done:
        sys.exit(NOT_FOUND)


def _warn_of_unused(database: Database, channels: set[str]) -> None:
    """Says which channels nobody may serve; CoreC may run with another environment than ours."""
    if database.loaded is None:
        return
    for name in sorted(channels - {*database.loaded.channels, *REPORT_CHANNELS}):
        click.echo(
            f"Aviso: el canal {name} no está activado en la configuración que se ve desde aquí; si "
            "tampoco lo está en CoreC, estos avisos esperan a que lo esté, 24 h como mucho.",
            err=True,
        )


@click.command("test-notify")
@click.argument("channel")
@json_option()
def test_notify(channel: str, as_json: bool) -> None:
    """Envía un mensaje de prueba por un canal de aviso, y dice qué contestó su servidor."""
    loaded = load_settings()
    if channel not in loaded.channels or channel not in loaded.settings.notification_channels:
        known = ", ".join(n for n in loaded.settings.notification_channels if n in loaded.channels)
        click.echo(
            f"El canal {channel} no está en uso; se puede probar: {known}. Un canal se activa con "
            "enabled: true en notification_config.",
            err=True,
        )
        sys.exit(NOT_FOUND)
    started = time.monotonic()
    outcome = asyncio.run(_send(loaded, channel))
    attempt = Attempt.of(outcome, time.monotonic() - started)
    external_id = outcome.external_id if isinstance(outcome, Sent) else None
    if as_json:
        print_json(
            {
                "channel": channel,
                "status": attempt.outcome,
                "seconds": attempt.seconds,
                "answer": attempt.answer,
                "external_id": external_id,
            }
        )
    else:
        said = ", ".join(text for text in (attempt.answer, external_id) if text)
        done = "enviado" if isinstance(outcome, Sent) else "no se pudo enviar"
        output = line(f"{channel}: {done} en {attempt.seconds:.1f} s{': ' if said else ''}{said}")
        console().print(output)
    if not isinstance(outcome, Sent):
        sys.exit(NOT_FOUND)


async def _send(loaded: Loaded, name: str) -> Outcome:
    settings = loaded.settings
    raw = settings.notification_config.get(name, {})
    if not logging.getLogger(LOGGER).hasHandlers():  # or nobody would see what the log tells
        logging.basicConfig(level=logging.INFO, format="%(message)s")
    channel = build(name, raw, loaded.channels[name], settings.alert_config.formats())
    try:
        return await channel.send([_trial(name)])
    finally:
        await channel.close()


def _trial(name: str) -> Message:
    return Message(
        alert_id=0,
        attempt=1,
        severity=Severity.BAJA,
        title="PRUEBA de CoreC",
        text=f"Esto es una prueba del canal {name}, no es una alerta: no hay que hacer nada.",
        rule="test-notify",
        channel="prueba",
        event_data={"plugin": "alert_manager"},
        timestamp=time.time(),
        kind=TEST,
        number=time.time_ns(),  # each one is another message to who tells them apart
    )


def _table(found: list[dict[str, Any]], formats: Formats) -> Table:
    names = ("id", "alerta", "severidad", "canal", "estado", "intentos", f"desde ({formats.zone})")
    made = table(*names, "título y motivo", long=("título y motivo",))
    for row in found:
        error = f" — {row['last_error']}" if row["last_error"] else ""
        made.add_row(
            Text(str(row["id"])),
            Text(str(row["alert_id"])),
            severity_text(row["severity"]),
            line(row["channel"]),
            Text(STATES[row["status"]]),
            Text(str(row["attempts"])),
            Text(shown_time(row["created_at"].timestamp(), formats)),
            line(f"{row['title'] or ''}{error}"),
        )
    return made
