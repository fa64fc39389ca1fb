"""How many durable messages a second reach a local webhook, beside Apprise one after the other.

    .venv/bin/python -m benchmarks.webhook [--messages 20000] [--rounds 5] [--json FILE]

Each message is a row of `notifications` that the real delivery claims, sends to a server in a
process of its own, and records as sent; Apprise posts to the same server in the same round. Starts
servers of its own, leaves nothing behind, prints a table and writes JSON. Takes about a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import statistics
import sys
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass
from pathlib import Path

from psycopg2.extensions import parse_dsn
from pydantic import SecretStr

from src.plugins.alert_manager.metrics import Metrics
from src.plugins.alert_manager.settings import BreakerSettings, DeliverySettings
from src.plugins.alert_manager.untold import Untold
from src.plugins.alert_manager.utils.channels.webhook import WebhookChannel, WebhookSettings
from src.plugins.alert_manager.utils.notify import Delivery
from src.plugins.alert_manager.utils.outbox import Outbox
from src.plugins.alert_manager.utils.pg import PgSession
from src.plugins.alert_manager.utils.spool import Spool
from src.plugins.alert_manager.utils.spool_file import SpoolFile
from tests.plugins.conftest import SCHEMA, World
from tests.support.receiver import receiver
from tests.support.servers import TestPostgres, guarded_directory

_APPRISE_MESSAGES = 300
_WAIT = 120.0  # seconds for one round
TITLE = "Pérdida de $150.00 en BTC/USDT"
TEXT = (
    "Operación con pérdida de $150.00 en BTC/USDT, exchange binance, usuario user1"
    " (umbral: $100.00). Revisa la posición y su stop."
)
_QUEUE = """
    WITH a AS (
        INSERT INTO alerts (severity, title, message, channel, rule, event_data, timestamp)
        SELECT 'alta', %s, %s, 'trading_results', 'perdida',
               '{"profit": -150.0, "symbol": "BTC/USDT", "exchange": "binance"}', 1760000000 + n
          FROM generate_series(1, %s) AS n RETURNING id)
    INSERT INTO notifications (alert_id, channel, severity) SELECT id, 'casa', 3 FROM a
"""


@dataclass(frozen=True, slots=True)
class Round:
    """Messages a second, and how many times Apprise's rate ours is."""

    durable: float
    apprise: float
    ratio: float


async def measured(world: World, messages: int) -> Round:
    """Measures one round; alert_db holds our tables, and nothing that waits."""
    with receiver() as port, tempfile.TemporaryDirectory() as folder:
        one_by_one = _apprise_rate(port)
        world.alert(_QUEUE, (TITLE, TEXT, messages))
        durable = await _durable_rate(world, port, messages, Path(folder))
    return Round(durable, one_by_one, durable / one_by_one)


async def _durable_rate(world: World, port: int, messages: int, folder: Path) -> float:
    settings = WebhookSettings(url=SecretStr(f"http://127.0.0.1:{port}/alertas"))
    session = PgSession("benchmark", parse_dsn(world.alert_dsn))
    delivery = Delivery(
        Outbox(session),
        Spool(SpoolFile(folder / "spool.sqlite3"), Untold()),
        {"casa": WebhookChannel(settings)},
        BreakerSettings(),
        DeliverySettings(),
        Metrics(),
    )
    begun = time.monotonic()
    delivery.start()
    try:
        while await asyncio.to_thread(_pending, world):
            assert time.monotonic() - begun < _WAIT, "not all were sent"
            await asyncio.sleep(0.02)
        return messages / (time.monotonic() - begun)
    finally:
        await delivery.stop()
        await session.close()


def _pending(world: World) -> bool:
    sql = "SELECT EXISTS (SELECT FROM notifications WHERE status <> 'sent')"
    return bool(world.alert(sql)[0][0])


def _apprise_rate(port: int) -> float:
    with warnings.catch_warnings():  # it asks for modules that Python will not have for ever
        warnings.simplefilter("ignore", DeprecationWarning)
        from apprise import Apprise

        service = Apprise()
        service.add(f"json://127.0.0.1:{port}/alertas")
    begun = time.monotonic()
    for _ in range(_APPRISE_MESSAGES):
        assert service.notify(title=TITLE, body=TEXT)
    return _APPRISE_MESSAGES / (time.monotonic() - begun)


def main() -> int:
    """Runs the rounds."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--messages", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=None, help="where to write the figures")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    with guarded_directory() as root:
        rounds = _rounds(root, arguments.messages, arguments.rounds)
    print("round  durable/s  Apprise/s  ratio")
    for number, one in enumerate(rounds, 1):
        print(f"{number:5}  {one.durable:9.0f}  {one.apprise:9.0f}  {one.ratio:5.1f}")
    medians = {
        name: statistics.median(getattr(one, name) for one in rounds)
        for name in ("durable", "apprise", "ratio")
    }
    print("median {durable:10.0f} {apprise:10.0f} {ratio:6.1f}".format(**medians))
    if arguments.json is not None:
        figures = {"rounds": [asdict(one) for one in rounds], "median": medians}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    return 0


def _rounds(root: Path, messages: int, count: int) -> list[Round]:
    postgres = TestPostgres(root / "pg")
    postgres.root.mkdir(mode=0o711)
    postgres.start()
    try:
        rounds = []
        for _ in range(count):
            dsn = postgres.create_database("alert")
            postgres.apply(dsn, SCHEMA)
            rounds.append(asyncio.run(measured(World("", dsn, ""), messages)))
            postgres.drop_database(dsn)
        return rounds
    finally:
        postgres.stop("immediate")


if __name__ == "__main__":
    sys.exit(main())
