"""What the command line prints: tables and text for people, JSON for scripts."""

from __future__ import annotations

import contextlib
import json
import re
import sys
from collections.abc import Callable, Collection, Iterator
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from ..domain.escape import single_line
from ..domain.formats import Formats
from ..domain.model import Severity

F = TypeVar("F", bound=Callable[..., Any])

STATES = {
    "pending": "pendiente",
    "sent": "enviado",
    "dead": "abandonado",
    "moved": "entregado por otro canal",
    "muted": "callado",
}
_COLOURS = {"critica": "bold red", "alta": "red", "media": "yellow", "baja": "cyan"}
# JSON lets these through as they are: controls of the terminal (C1, DEL), and what hides text or
# shows it in another order.
_NOT_SHOWN = re.compile(
    "[\x7f-\x9f\u00ad\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]"
)


def json_option(help_text: str = "Un objeto JSON.") -> Callable[[F], F]:
    """Returns the option `--json`, which a command gets as `as_json`."""
    return click.option("--json", "as_json", is_flag=True, help=help_text)


def console() -> Console:
    """Returns where to print."""
    # rich leaves colours out by itself where the output is no terminal; there a line stays a line.
    return Console(width=None if sys.stdout.isatty() else 1000)


@contextlib.contextmanager
def replay_progress() -> Iterator[Callable[[int, int], None]]:
    """Shows how far a replay is; yields what hears of more rows, and of how many there are."""
    # On stderr, and only on a terminal: what scripts read stays as it is.
    shown = Console(stderr=True)
    columns = (TextColumn("eventos"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        *columns, console=shown, disable=not shown.is_terminal, transient=True
    ) as progress:
        task = progress.add_task("eventos", total=None)
        yield lambda rows, total: progress.update(task, advance=rows, total=total)


def table(*columns: str, long: Collection[str] = ("título",)) -> Table:
    """Returns an empty table; on a narrow terminal only `long` columns are broken."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        made.add_column(name, no_wrap=name not in long)
    return made


def counted(number: int, one: str, many: str) -> str:
    """Returns `1 aviso`, `2 avisos`."""
    return f"{number} {one if number == 1 else many}"


def severity_text(key: str) -> Text:
    """Returns a severity's name in its colour."""
    try:
        label = Severity.parse(key).label
    except ValueError:
        label = key
    return line(label, style=_COLOURS.get(key, ""))


def line(text: str, style: str = "") -> Text:
    """Returns what an event or a server said, without what a terminal would obey."""
    return Text(single_line(text), style=style)


def shown_time(timestamp: float | None, formats: Formats) -> str:
    """Returns a time (epoch seconds) as people read it."""
    if timestamp is None:
        return "-"
    try:
        return formats.to_the_second(formats.local(timestamp))
    except (ValueError, OverflowError, OSError):  # an event may claim any number of seconds
        return f"{timestamp:g} s"


def print_json(value: Any) -> None:
    """Prints JSON in which nothing hides."""
    click.echo(to_json(value, indent=2))


def print_json_line(value: Any) -> None:
    """Prints JSON on one line, at once: somebody may be waiting for it in a pipe."""
    click.echo(to_json(value))
    sys.stdout.flush()


def to_json(value: Any, indent: int | None = None) -> str:
    """Returns JSON in which nothing hides."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=str)
    return _NOT_SHOWN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
