"""Which alerts a person asks for: the options that several commands share."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import click

from ..domain.formats import Formats
from ..domain.model import Severity
from .times import read_moment

STATUSES = ("abierta", "reconocida", "resuelta", "silenciada")


@dataclass(frozen=True, slots=True)
class Filter:
    """What alerts have to be, as a person wrote it; an empty one asks for all."""

    severity: tuple[str, ...] = ()
    channel: tuple[str, ...] = ()
    plugin: tuple[str, ...] = ()
    rule: tuple[str, ...] = ()
    status: tuple[str, ...] = ()
    since: str | None = None
    until: str | None = None
    text: str | None = None

    def arguments(self, formats: Formats) -> dict[str, Any]:
        """Returns the arguments of the statements that share the condition `chosen`.

        Raises:
            click.BadParameter: an option's text means nothing.
        """
        return {
            "severities": _keys(self.severity),
            "channels": list(self.channel) or None,
            "plugins": list(self.plugin) or None,
            "rules": list(self.rule) or None,
            "states": list(self.status) or None,
            "since": _when(self.since, formats, "--since"),
            "until": _when(self.until, formats, "--until"),
            "text": None if self.text is None else f"%{_literal(self.text)}%",
        }


_OPTIONS = (
    click.option(
        *("--severity", "severity"),
        multiple=True,
        help="Solo una severidad: critica, alta, media o baja.",
    ),
    click.option(
        *("--channel", "channel"),
        multiple=True,
        help="Solo un canal de CoreC, por ejemplo trading_results.",
    ),
    click.option("--plugin", multiple=True, help="Solo un plugin, por ejemplo macro_sync."),
    click.option("--rule", multiple=True, help="Solo una regla, por ejemplo vix."),
    click.option("--status", multiple=True, type=click.Choice(STATUSES), help="Solo un estado."),
    click.option("--since", help="Desde cuándo pasó: 2h, 7d o una hora ISO."),
    click.option("--until", help="Hasta cuándo: 2h (hace dos horas), 7d o una hora ISO."),
    click.option("--text", help="Solo las que dicen esto en el título o el mensaje."),
)
_NAMES = ("severity", "channel", "plugin", "rule", "status", "since", "until", "text")


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """Adds the options to a command, which gets them as one `wanted`; each may be repeated."""

    @functools.wraps(command)
    def with_filter(**options: Any) -> None:
        wanted = Filter(**{name: options.pop(name) for name in _NAMES})
        command(wanted=wanted, **options)

    for option in reversed(_OPTIONS):
        with_filter = option(with_filter)
    return with_filter


def _when(text: str | None, formats: Formats, option: str) -> float | None:
    return None if text is None else read_moment(text, time.time(), formats, option)


def _keys(severities: tuple[str, ...]) -> list[str] | None:
    try:
        return [Severity.parse(text).key for text in severities] or None
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--severity") from None


def _literal(text: str) -> str:
    """Returns a text in which nothing is a wildcard of LIKE."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
