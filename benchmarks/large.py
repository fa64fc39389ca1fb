"""What a table of ten million events, and half a year of a million alerts, make slow.

    .venv/bin/python -m benchmarks.large [--events N] [--alerts N] [--rounds 5] [--json FILE]

Fills both databases on a server of its own and measures, against what is wanted:

- an idle poll at the end of `eventos`, where nothing is new, and the look before sleeping;
- `alerts.sh list` with its filters, `show` and `stats`: connection, statements and table, in a
  process that has read its configuration. Reading it, and `list` as a process of its own, which
  starts Python first, are apart.

Prints a table of medians of the rounds (of a poll, its median and its 99 % in each) and writes
JSON. Takes about ten minutes and 10 GB of disk, nothing of which stays.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from unittest.mock import patch

import psycopg2
from click.testing import CliRunner
from psycopg2.extensions import connection as Connection  # noqa: N812
from psycopg2.extensions import parse_dsn

from benchmarks.half_a_year import Kind, fill
from benchmarks.loads import LOADS, events
from benchmarks.servers import durable_postgres, fresh_world
from src.plugins.alert_manager import config_file
from src.plugins.alert_manager.cli import alerts, stats
from src.plugins.alert_manager.cli.data import find_database
from src.plugins.alert_manager.cli.main import main as command_line
from src.plugins.alert_manager.domain.holes import Position
from src.plugins.alert_manager.metrics import Metrics
from src.plugins.alert_manager.settings import ReaderSettings
from src.plugins.alert_manager.utils.eventos import EventosReader
from src.plugins.alert_manager.utils.eventos_rows import ranges
from src.plugins.alert_manager.utils.pg import PgSession
from src.plugins.alert_manager.utils.queries import prepared_value
from tests.plugins.conftest import PROJECT, SCHEMA, SHIPPED_CONFIG, World

_CHUNK = 1_000_000  # events written at once
_PARTS = 10  # of the half year, one filled after the other
_DAYS = 180
_POLLS = 200  # in each round
_PAYLOADS = 100
_IDLE_BAR, _COMMAND_BAR = 1.0, 100.0  # milliseconds
_EVENTS = """
    INSERT INTO eventos (canal, datos, timestamp, instance_id)
    SELECT 'trading_results', (%(payloads)s::bytea[])[1 + n %% %(count)s],
           extract(epoch FROM now()) - %(span)s * (%(events)s - n) / %(events)s, 'corec1'
      FROM generate_series(%(first)s, %(last)s) AS n
"""
# Of a million, five are an administrator's and five speak of a meteorite.
_KINDS = (
    Kind(25, "baja", "ganancia", "trading_results", "Ganancia de $250.00"),
    Kind(18, "alta", "perdida", "trading_results", "Pérdida de $230.00"),
    Kind(10, "alta", "perdida", "trading_results", "Pérdida de $310.00", "reconocida"),
    Kind(1, "critica", "perdida", "trading_results", "Pérdida de $2,300.00", "reconocida"),
    Kind(12, "media", "error_de_evento", "alertas", "Error al procesar en exchange_sync"),
    Kind(10, "alta", "precio_parado", "market_data", "Sin precios de BTC/USDT", "resuelta"),
    Kind(9, "media", "prediccion_imprecisa", "corec_stream_corec1", "Predicciones imprecisas"),
    Kind(8, "baja", "aviso_menor", "alertas", "Aviso de exchange_sync", "silenciada"),
    Kind(5, "media", "orden_rechazada", "exchange_data", "Orden rejected en kraken"),
    Kind(1.9, "alta", "retiro"),
    Kind(0.099, "critica", "vix", "macro_data", "VIX en 45", "resuelta"),
    Kind(0.0005, "media", "administrador_nuevo", "user_data", "Administrador nuevo"),
    Kind(0.0005, "media", "otro_aviso", "alertas", "Aviso de un meteorito"),
)
_QUESTIONS: tuple[tuple[str, ...], ...] = (
    ("list",),
    ("list", "--severity", "critica"),
    ("list", "--rule", "perdida"),
    ("list", "--rule", "vix"),
    ("list", "--rule", "administrador_nuevo"),
    ("list", "--status", "abierta"),
    ("list", "--text", "meteorito"),
    ("list", "--text", "meteorito", "--since", "7d"),
    ("list", "--since", "1d"),
    ("stats",),
)

Figures = dict[str, list[float]]
"""Milliseconds of each round, by what was measured."""


def main() -> int:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--events", type=int, default=10_000_000)
    parser.add_argument("--alerts", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=None, help="where to write the figures")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with durable_postgres() as postgres:
        world = fresh_world(postgres)
        postgres.apply(world.alert_dsn, SCHEMA)
        _fill_events(world, arguments.events)
        found = asyncio.run(_polled(world, arguments.rounds))
        _print(found, _IDLE_BAR)
        for part in range(_PARTS):
            days = _DAYS / _PARTS
            fill(world, arguments.alerts // _PARTS, days, _DAYS - days * (part + 1), _KINDS)
        _vacuum(world.alert_dsn)
        where = {"ALERT_DB_DSN": world.alert_dsn, "ALERT_MANAGER_CONFIG": str(SHIPPED_CONFIG)}
        with patch.dict(os.environ, where):
            asked = _asked(arguments.alerts // 2, arguments.rounds)
            _print(asked, _COMMAND_BAR)
            apart = _apart(arguments.rounds)
            _print(apart)
    if arguments.json is not None:
        text = json.dumps({**found, **asked, **apart}, indent=2)
        arguments.json.write_text(text + "\n", encoding="utf-8")
    return 0


def _fill_events(world: World, count: int) -> None:
    """Writes events of half a year; the server repeats a hundred payloads."""
    payloads = [psycopg2.Binary(datos) for _, datos, _ in events(LOADS["10 %"], _PAYLOADS, 0.0)]
    fixed = {"payloads": payloads, "count": _PAYLOADS, "events": count, "span": _DAYS * 86400.0}
    for first in range(1, count + 1, _CHUNK):
        last = min(first + _CHUNK - 1, count)
        world.corec(_EVENTS, {**fixed, "first": first, "last": last})
    _vacuum(world.corec_dsn)


def _vacuum(dsn: str) -> None:
    connection = psycopg2.connect(dsn)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE)")
    connection.close()


async def _polled(world: World, rounds: int) -> Figures:
    """Polls at the end of the table, and looks for news as before a sleep."""
    session = PgSession("benchmark", parse_dsn(world.corec_dsn), autocommit=True)
    reader = EventosReader(session, ["trading_results"], 1 << 20, ReaderSettings(), Metrics())
    found: Figures = defaultdict(list)
    try:
        last = int(world.corec("SELECT max(id) FROM eventos")[0][0])
        position = (await reader.fetch(Position(last - 1))).position
        news = {"after": position.hi, **ranges(position.holes)}

        def look(connection: Connection) -> None:
            with connection.cursor() as cursor:
                assert not prepared_value(cursor, "eventos_any", news)

        for _ in range(rounds):
            polls, looks = [], []
            for _ in range(_POLLS):
                began = time.perf_counter()
                fetched = await reader.fetch(position)
                polled = time.perf_counter()
                await session.run(look)
                polls.append(1000 * (polled - began))
                looks.append(1000 * (time.perf_counter() - polled))
                assert not fetched.events
                position = fetched.position
            for name, took in (("idle poll", polls), ("look before sleeping", looks)):
                cuts = statistics.quantiles(took, n=100, method="inclusive")
                found[name].append(cuts[49])
                found[f"{name}, 99 %"].append(cuts[98])
    finally:
        await session.close()
        reader.close()
    return found


def _asked(alert_id: int, rounds: int) -> Figures:
    """Asks as a person does, of a command line that has read its configuration."""
    found: Figures = defaultdict(list)
    ask = partial(CliRunner().invoke, command_line, catch_exceptions=False)
    with ExitStack() as opened:
        database = find_database()
        for module in (alerts, stats):
            opened.enter_context(patch.object(module, "find_database", return_value=database))
        for number in range(rounds + 1):
            for words in (*_QUESTIONS, ("show", str(alert_id))):
                took = _timed(partial(ask, words))
                if number:  # the first time is not warm
                    found[" ".join(words)].append(took)
    return found


def _apart(rounds: int) -> Figures:
    """What comes to it for somebody who types it: the configuration, and Python itself."""
    command = (sys.executable, "-m", "src.plugins.alert_manager.cli", "list")
    process = partial(subprocess.run, command, cwd=PROJECT, capture_output=True, check=True)
    return {
        "reading the configuration": [_timed(_configure) for _ in range(rounds)],
        "list, a process of its own": [_timed(process) for _ in range(rounds)],
    }


def _configure() -> None:
    config_file._parsed.cache_clear()  # a process parses the file once
    find_database()


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - began)


def _print(found: Figures, bar: float | None = None) -> None:
    for name, rounds in found.items():
        middle = statistics.median(rounds)
        wanted = "" if bar is None else f"   wanted: below {bar:g}"
        spread = f"({min(rounds):.2f} to {max(rounds):.2f})"
        print(f"{name:40} {middle:9.2f} ms {spread:24}{wanted}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
