"""The command: asks everything, prints what was found, ends with 1 where something is wrong."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import click
from rich.text import Text

from ...config_file import ConfigError, read_yaml
from ...database_settings import COREC_DSN_ENV
from ...home import home
from ...settings import CONFIG_ENV, Loaded, check
from ..data import CONFIG, NOT_FOUND, Database
from ..output import console, counted, json_option, line, print_json
from ..running import ask_health
from .databases import check_alert_db, check_corec_db, check_redis
from .finding import Finding, State, fault, good
from .machine import check_home, check_libraries, check_python, check_secret_files
from .telling import check_channels
from .work import check_running, check_work

_MARKS = {
    State.GOOD: ("✓", "green"),
    State.WARNING: ("!", "bold yellow"),
    State.FAULT: ("✗", "bold red"),
}


@click.command("doctor")
@json_option("Una lista JSON.")
def doctor(as_json: bool) -> None:
    """Mira todo lo que CoreC necesita y dice cómo arreglar lo que esté mal. No envía nada.

    Termina con 1 si encuentra un fallo.
    """
    found: list[Finding] = []
    for finding in _findings():
        found.append(finding)
        if not as_json:
            _print(finding)
    faults = sum(finding.state is State.FAULT for finding in found)
    if as_json:
        print_json(
            [
                {"part": f.part, "state": f.state.value, "said": f.said, "mend": f.mend}
                for f in found
            ]
        )
    else:
        warnings = sum(finding.state is State.WARNING for finding in found)
        click.echo(f"{counted(faults, 'fallo', 'fallos')}, {counted(warnings, 'aviso', 'avisos')}.")
    if faults:
        sys.exit(NOT_FOUND)


def _findings() -> Iterator[Finding]:
    yield check_python(sys.version_info[:2])
    yield check_libraries()
    yield from check_home(home(os.environ))
    file = Path(os.environ.get(CONFIG_ENV) or CONFIG)
    loaded = None
    try:
        raw = read_yaml(file)
        yield from check_secret_files(file, raw)
        loaded = check(raw)
        yield good("configuración", f"{file} es válido")
    except ConfigError as error:
        mend = f"corrige {file}; para comprobarlo: ./scripts/alerts.sh check-config"
        for one in error.faults:
            yield fault("configuración", str(one), mend)
    yield from check_corec_db(os.environ.get(COREC_DSN_ENV) or os.environ.get("COREC_DB_DSN"))
    if loaded is not None:
        yield from _with_settings(loaded)
    yield check_redis(os.environ.get("REDIS_URL"))
    yield from check_running(ask_health())


def _with_settings(loaded: Loaded) -> Iterator[Finding]:
    database = Database.of(loaded)
    answers = True
    for finding in check_alert_db(database.parameters):
        answers = answers and finding.state is not State.FAULT
        yield finding
    if answers:
        yield from check_work(database)
    yield from check_channels(loaded)


def _print(finding: Finding) -> None:
    mark, style = _MARKS[finding.state]
    output = console()
    output.print(Text(f"{mark} ", style=style), line(f"{finding.part}: {finding.said}"), sep="")
    if finding.mend:
        output.print(Text("  → "), line(finding.mend), sep="")
