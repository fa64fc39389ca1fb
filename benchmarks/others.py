"""How many alerts a second it takes, beside Prometheus Alertmanager and Alerta in the same round.

    .venv/bin/python -m benchmarks.others [--alerts 20000] [--rounds 5] [--json FILE]
        [--alerta FOLDER]

In each round, one after the other, on servers of its own:

- alert_manager: events that all are alerts, from their commit to the commit of the last alert,
  as `benchmarks.events` measures it: read, decoded, judged, worded, committed to a PostgreSQL
  with fsync, and told by three channels at the same time.
- Alertmanager (Debian's package prometheus-alertmanager): as many alerts, 1,000 in a request of
  one client, until the last is answered. It keeps them in memory alone, and has nobody to tell.
- Alerta (alerta-server[postgres] and uwsgi in a venv; FOLDER is its bin): 300 alerts, one in a
  request as it wants them, into a database of the same PostgreSQL; of one client, and of four.
  uWSGI serves it with five processes, as its tutorial says, without the proxy before it.

What is sent is made before the clock starts, and whether all of it is there is looked up after it
stopped. What is not installed is named and left out. Prints a table of medians and writes JSON.
Takes about three minutes.
"""

from __future__ import annotations

import argparse
import http.client
import json
import logging
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.events import judged
from benchmarks.loads import LOADS, trades
from benchmarks.servers import durable_postgres, free_port, private_redis, web_server
from src.launcher.signals import unwind_on_signals
from tests.plugins.conftest import World
from tests.support.servers import TestPostgres, TestRedis, guarded_directory

_OURS = "alert_manager"
_LOAD = LOADS["100 %"]
_BATCH = 1000  # alerts in a request to Alertmanager
_NOBODY = "route: {receiver: nobody}\nreceivers: [{name: nobody}]\n"
_FEW = 300  # alerts for Alerta
_WARM_UP = 40  # alerts: each of its processes has served some
_CLIENTS = 4
_PROCESSES = 5
_TIMEOUT = 60.0  # seconds for one request
_JSON = {"Content-Type": "application/json"}

Rates = dict[str, float]
"""Alerts a second by who takes them."""


def main() -> int:
    """Runs it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--alerts", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=None, help="where to write the figures")
    parser.add_argument("--alerta", type=Path, default=None, help="the folder with alertad")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    unwind_on_signals()
    others = {
        "Alertmanager": shutil.which("prometheus-alertmanager"),
        "Alerta": _alerta_folder(arguments.alerta),
    }
    missing = [name for name, place in others.items() if place is None]
    with (
        durable_postgres() as postgres,
        private_redis() as redis,
        guarded_directory() as root,
    ):
        rounds = []
        for _ in range(arguments.rounds):
            rates = {_OURS: _ours(postgres, redis, arguments.alerts)}
            if (program := others["Alertmanager"]) is not None:
                rates |= _alertmanager(program, root, arguments.alerts)
            if (folder := others["Alerta"]) is not None:
                rates |= _alerta(Path(folder), root, postgres, min(arguments.alerts, _FEW))
            rounds.append(rates)
    medians = _print(rounds)
    for name in missing:
        print(f"{name}: not installed (docs/performance.md says how)")
    if arguments.json is not None:
        figures = {"rounds": rounds, "median": medians, "missing": missing}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


def _ours(postgres: TestPostgres, redis: TestRedis, alerts: int) -> float:
    world, seconds, _ = judged(postgres, redis, _LOAD, alerts)
    ((stored,),) = world.alert("SELECT count(DISTINCT event_id) FROM alerts")
    _check(_OURS, stored, alerts)
    return alerts / seconds


def _alertmanager(program: str, root: Path, alerts: int) -> Rates:
    made = [_for_alertmanager(trade) for trade in trades(_LOAD, alerts)]
    batches = [json.dumps(made[n : n + _BATCH]).encode() for n in range(0, alerts, _BATCH)]
    port = free_port()
    with tempfile.TemporaryDirectory(dir=root) as name:
        folder = Path(name)
        (folder / "config.yml").write_text(_NOBODY, encoding="utf-8")
        command = (
            program,
            f"--config.file={folder / 'config.yml'}",
            f"--storage.path={folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{port}",
            "--cluster.listen-address=",  # alone
        )
        with web_server(command, folder, port, "/-/ready"):
            seconds = _timed(lambda: _post(port, "/api/v2/alerts", batches))
            with _connection(port) as connection:
                held = json.loads(_answer(connection, "GET", "/api/v2/alerts"))
    _check("Alertmanager", len({alert["labels"]["order_id"] for alert in held}), alerts)
    return {"Alertmanager": alerts / seconds}


def _alerta(programs: Path, root: Path, postgres: TestPostgres, alerts: int) -> Rates:
    made = [_for_alerta(trade) for trade in trades(_LOAD, _WARM_UP + 2 * alerts)]
    warm_up, one, four = made[:_WARM_UP], made[_WARM_UP:-alerts], made[-alerts:]
    dsn = postgres.create_database("alerta", owner="alert_user")
    port = free_port()
    command = (
        *(programs / "uwsgi", "--module", "alerta:create_app()", "--need-app"),
        *("--http11-socket", f"127.0.0.1:{port}"),  # which keeps connections open
        *("--master", "--processes", str(_PROCESSES)),
        *("--die-on-term", "--no-orphans", "--disable-logging"),
    )
    own = {"DATABASE_URL": dsn, "SECRET_KEY": "benchmark"}
    with (
        tempfile.TemporaryDirectory(dir=root) as name,
        web_server(command, Path(name), port, "/management/gtg", **own),
    ):
        _post_at_once(port, warm_up)
        rates = {
            "Alerta, 1 client": alerts / _timed(lambda: _post(port, "/alert", one)),
            f"Alerta, {_CLIENTS} clients": alerts / _timed(lambda: _post_at_once(port, four)),
        }
    ((stored,),) = World("", dsn, "").alert("SELECT count(*) FROM alerts")
    _check("Alerta", stored, len(made))
    return rates


def _alerta_folder(named: Path | None) -> str | None:
    """Returns the folder of Alerta's programs; None unless all that it needs is there."""
    alertad = shutil.which("alertad", path=None if named is None else str(named))
    if alertad is None:
        return None
    folder = Path(alertad).resolve().parent
    if not all((folder / program).exists() for program in ("python", "uwsgi")):
        return None
    asked = (folder / "python", "-c", "import alerta, psycopg2")
    done = subprocess.run(asked, capture_output=True, cwd="/", check=False)
    return str(folder) if done.returncode == 0 else None


def _for_alertmanager(trade: dict[str, Any]) -> dict[str, Any]:
    names = ("order_id", "user_id", "symbol", "exchange")
    rule, title, text = _words(trade)
    return {
        "labels": {"alertname": rule, "severity": "alta", **{name: trade[name] for name in names}},
        "annotations": {"summary": title, "description": text},
    }


def _for_alerta(trade: dict[str, Any]) -> bytes:
    rule, title, text = _words(trade)
    alert = {
        "resource": trade["order_id"],
        "event": rule,
        "environment": "Production",
        "service": ["trading"],
        "severity": "major",
        "value": title,
        "text": text,
        "attributes": {name: trade[name] for name in ("user_id", "symbol", "exchange")},
    }
    return json.dumps(alert).encode()


def _words(trade: dict[str, Any]) -> tuple[str, str, str]:
    """Returns the rule that a result comes to, its title and its message, about as they ship."""
    rule, kind = ("perdida", "pérdida") if trade["profit"] < 0 else ("ganancia", "ganancia")
    subject = f"{kind} de ${abs(trade['profit']):,.2f} en {trade['symbol']}"
    where = f"exchange {trade['exchange']}, usuario {trade['user_id']} (umbral: $5,000.00)"
    return rule, subject.capitalize(), f"Operación con {subject}, {where}. Revisa la posición."


def _post_at_once(port: int, bodies: Sequence[bytes]) -> None:
    with ThreadPoolExecutor(_CLIENTS) as pool:
        parts = [bodies[n::_CLIENTS] for n in range(_CLIENTS)]
        list(pool.map(lambda part: _post(port, "/alert", part), parts))


def _post(port: int, path: str, bodies: Sequence[bytes]) -> None:
    # http.client, on one connection: as fast as aiohttp here, for half of its processor time.
    with _connection(port) as connection:
        for body in bodies:
            _answer(connection, "POST", path, body)


@contextmanager
def _connection(port: int) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)
    try:
        yield connection
    finally:
        connection.close()


def _answer(
    connection: http.client.HTTPConnection, method: str, path: str, body: bytes | None = None
) -> bytes:
    connection.request(method, path, body, _JSON)
    answer = connection.getresponse()
    text = answer.read()
    if answer.status not in (http.client.OK, http.client.CREATED):
        raise RuntimeError(f"{method} {path}: {answer.status} {text[:200]!r}")
    return text


def _timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _check(name: str, found: int, wanted: int) -> None:
    if found != wanted:
        raise RuntimeError(f"{name} has {found} of {wanted} alerts")


def _print(rounds: list[Rates]) -> Rates:
    """Prints what each takes, and how many times that ours is; returns the medians."""
    medians = {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
    print(f"{'':18} {'alerts/s':>9}  ours / theirs in the same round")
    for name, rate in medians.items():
        ratios = [one[_OURS] / one[name] for one in rounds]
        of = f"{statistics.median(ratios):9.3g}   ({min(ratios):.3g} to {max(ratios):.3g})"
        print(f"{name:18} {rate:9,.0f} {'' if name == _OURS else of}")
    return medians


if __name__ == "__main__":
    sys.exit(main())
