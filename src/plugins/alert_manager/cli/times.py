"""Moments that a person writes: `7d`, `2026-11-23T08:00`, `beginning`."""

from __future__ import annotations

import click

from ..domain.formats import Formats
from ..start_from import parse_start_from

since_option = click.option(
    "--since",
    default="7d",
    show_default=True,
    help="Desde cuándo: 7d, 12h, beginning (todo) o una hora ISO.",
)


def read_moment(text: str, now: float, formats: Formats, option: str = "--since") -> float | None:
    """Returns the time (epoch seconds) that an option's text means; None for all there is.

    Raises:
        click.BadParameter: it means none.
    """
    try:
        return parse_start_from(text, formats.tzinfo).threshold(now)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None
