"""`alerts.sh ack` and `resolve`: somebody takes care of an alert, or it is over."""

from __future__ import annotations

import getpass
import os
import sys

import click

from ..domain.escape import clip, single_line
from ..domain.redact import redact_text
from ..utils.channels.registry import REPORT_CHANNELS
from .data import NOT_FOUND, changed, find_database
from .output import json_option, print_json

_MAX_NOTE = 500  # characters
_IMPOSSIBLE = "no existe, o ya no se puede dar por {}"

note_option = click.option("--note", help="Por qué, o qué se hizo: queda en la historia.")
who_option = click.option("--who", help="Quién; sin esto, el usuario de esta sesión.")


@click.command()
@click.argument("ids", type=int, nargs=-1, required=True, metavar="ID…")
@note_option
@who_option
@json_option("Una lista JSON.")
def ack(ids: tuple[int, ...], note: str | None, who: str | None, as_json: bool) -> None:
    """Alguien se ocupa: esas alertas no se repiten ni escalan más."""
    arguments = {
        "ids": list(ids),
        "who": author(who),
        "note": clean_note(note),
        "spared": "alguien la reconoció",
    }
    done = changed(find_database(), "alerts_acknowledge", arguments)
    report_each(ids, done, "Alerta", "reconocida", _IMPOSSIBLE.format("reconocida"), as_json)


@click.command()
@click.argument("ids", type=int, nargs=-1, required=True, metavar="ID…")
@note_option
@who_option
@json_option("Una lista JSON.")
def resolve(ids: tuple[int, ...], note: str | None, who: str | None, as_json: bool) -> None:
    """Ya pasó: se avisa a quien se enteró de esas alertas."""
    name, text = author(who), clean_note(note)
    ending = f"La resolvió {name}{f': {text}' if text else ''}."
    arguments = {
        "ids": list(ids),
        "who": name,
        "note": text,
        "resolution": ending,
        "spared": "alguien la resolvió",
        "silent": list(REPORT_CHANNELS),
    }
    done = changed(find_database(), "alerts_close", arguments)
    report_each(ids, done, "Alerta", "resuelta", _IMPOSSIBLE.format("resuelta"), as_json)


def author(who: str | None) -> str:
    """Returns who does something, for the history."""
    name = who or os.environ.get("SUDO_USER") or _user()
    return clip(redact_text(single_line(name)), 100) or "?"


def clean_note(note: str | None) -> str | None:
    """Returns what somebody wrote, as one line without secrets."""
    return None if note is None else clip(redact_text(single_line(note)), _MAX_NOTE)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        return f"uid {os.getuid()}"


def report_each(
    ids: tuple[int, ...],
    done: list[dict[str, int]],
    what: str,
    state: str,
    otherwise: str,
    as_json: bool,
) -> None:
    """Says of each id whether it is done; ends the program where one is not."""
    found = {row["id"] for row in done}
    numbers = list(dict.fromkeys(ids))
    if as_json:
        print_json([{"id": number, "done": number in found} for number in numbers])
    for number in numbers if not as_json else ():
        is_done = number in found
        click.echo(f"{what} {number}: {state if is_done else otherwise}.", err=not is_done)
    if not found.issuperset(ids):
        sys.exit(NOT_FOUND)
