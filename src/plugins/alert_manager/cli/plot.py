"""A picture of a backtest: the alerts that were, and those that would have been, over time."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import click

from ..domain.model import Severity
from ..domain.verdicts import Told
from .data import NOT_FOUND

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_COLOURS = {
    Severity.CRITICA: "#b3001b",
    Severity.ALTA: "#e8590c",
    Severity.MEDIA: "#f2b705",
    Severity.BAJA: "#4dabf7",
}
_MAX_BARS = 120
_WIDTHS = (  # seconds of one bar, and its name
    (60, "minuto"),
    (300, "5 minutos"),
    (1800, "media hora"),
    (3600, "hora"),
    (6 * 3600, "6 horas"),
    (86400, "día"),
    (7 * 86400, "semana"),
)


def need_matplotlib() -> None:
    """Ends the program, and says how to mend it, where the library is missing."""
    if importlib.util.find_spec("matplotlib") is None:
        click.echo(
            "Para --plot hace falta matplotlib: .venv/bin/pip install -r requirements-plot.txt"
            " -c constraints.txt",
            err=True,
        )
        sys.exit(NOT_FOUND)


def need_folder(file: Path) -> None:
    """Ends the program where a file cannot be written: a replay takes a while."""
    if file.is_dir() or not os.access(file.parent, os.W_OK):
        where = file if file.is_dir() else file.parent
        click.echo(f"No se puede escribir en {where}: se espera un archivo .png.", err=True)
        sys.exit(NOT_FOUND)


def save_picture(
    file: Path, before: Sequence[Told], after: Sequence[Told], span: tuple[float, float], zone: str
) -> None:
    """Writes a PNG with a panel for each of two runs.

    Args:
        file: is replaced.
        before: the alerts that were.
        after: those that would have been.
        span: begin and end of what is shown (epoch seconds).
        zone: the time zone of its times.

    Raises:
        OSError: the file cannot be written.
    """
    # It takes a second to import, and most commands draw nothing.
    from matplotlib.dates import num2date
    from matplotlib.figure import Figure

    clock = ZoneInfo(zone)
    width, name = _width(span[1] - span[0])
    figure = Figure(figsize=(10, 6), layout="constrained")
    panels = figure.subplots(2, 1, sharex=True, sharey=True)
    for axes, title, alerts in zip(panels, ("Hubo", "Habría"), (before, after), strict=True):
        _draw(axes, alerts, span, width, clock)
        axes.set_title(f"{title}: {len(alerts)} alertas", loc="left")
        axes.set_ylabel(f"alertas por {name}")
    panels[-1].xaxis_date(tz=clock)
    panels[-1].xaxis.set_major_formatter(
        lambda value, _: num2date(value, clock).strftime("%d/%m %H:%M")  # type: ignore[no-untyped-call]
    )
    figure.autofmt_xdate()
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside upper right", ncols=4)
    figure.savefig(file, format="png", dpi=120)


def _width(seconds: float) -> tuple[int, str]:
    return next((w for w in _WIDTHS if seconds / w[0] <= _MAX_BARS), _WIDTHS[-1])


def _draw(
    axes: Axes, alerts: Sequence[Told], span: tuple[float, float], width: int, clock: ZoneInfo
) -> None:
    begin = span[0] - span[0] % width
    bars = [begin + n * width for n in range(ceil((span[1] - begin) / width) or 1)]
    counts = Counter((told.severity, int((told.timestamp - begin) // width)) for told in alerts)
    times = [datetime.fromtimestamp(bar, clock) for bar in bars]
    below = [0] * len(bars)
    for severity in sorted(Severity, reverse=True):
        heights = [counts[severity, n] for n in range(len(bars))]
        axes.bar(
            times,  # type: ignore[arg-type]  # dates are allowed; its stubs do not say so
            heights,
            width=timedelta(seconds=width * 0.9),  # type: ignore[arg-type]
            bottom=below,
            align="edge",
            color=_COLOURS[severity],
            label=severity.label,
        )
        below = [low + height for low, height in zip(below, heights, strict=True)]
    axes.yaxis.get_major_locator().set_params(integer=True)  # type: ignore[call-arg]
    axes.grid(axis="y", alpha=0.3)
