"""Two hundred secrets are planted in events and in the configuration; none is found anywhere."""

from __future__ import annotations

import itertools
import json
import logging
import random
import string
from collections.abc import Iterator
from typing import Any

import aiohttp
import pytest
import zstandard
from click.testing import CliRunner

from src.plugins.alert_manager.cli.main import main
from src.plugins.alert_manager.domain.cards import is_card
from tests.plugins.conftest import Streams, World, eventually
from tests.plugins.payloads import to_json
from tests.support.discord import DiscordServer
from tests.support.secret_cases import KEYS, SECRET, TEXTS
from tests.support.smtp import SmtpServer

COUNT = 200
RANDOM = random.Random(4711)
TABLES = (
    *("alerts", "notifications", "dead_letters", "reader_positions"),
    *("rule_states", "threshold_changes"),
)


def words() -> str:
    return "".join(RANDOM.choices(string.ascii_letters + string.digits, k=24))


def card() -> str:
    while not is_card(number := "4" + "".join(RANDOM.choices(string.digits, k=15))):
        pass
    return number


def planted() -> Iterator[tuple[str, str, bytes]]:
    """Secrets with an event's channel and payload, in every form and place in turn."""
    for number in itertools.count():
        error = {"tipo": "api_error", "plugin": "exchange_sync", "exchange": f"e{number}"}
        key, text = KEYS[number % len(KEYS)], TEXTS[number % len(TEXTS)]
        secret = words()
        yield secret, "alertas", to_json({**error, "message": "1", key: secret})
        secret = words()
        nested = [{"datos": {key: [secret, {"x": secret}]}}]
        yield secret, "user_data", to_json({"action": "delete", "a": nested, "n": number})
        secret, said = spoken(text)
        yield secret, "alertas", to_json({**error, "message": f"2 {said}"})
        secret, said = spoken(text)
        yield secret, "trading_results", to_json({"profit": -150, "symbol": said, "n": number})
        secret, said = spoken(text)
        yield secret, "trading_results", to_json({"profit": said, "user_id": f"u{number}"})
        secret, said = spoken(text)
        yield secret, "market_data", to_json({"symbol": said, "price": 1.5})
        secret, said = spoken(text)
        yield secret, "alert_data", to_json({"action": said})
        secret, said = spoken(text)
        yield secret, "alertas", f"{{{{{{ {said}".encode()
        secret, said = spoken(text)
        yield secret, "alertas", to_json({**error, "message": "3", said: number})
        secret = card()
        yield secret, "alertas", to_json({**error, "message": f"tarjeta {secret} rechazada"})
        secret = card()
        yield secret, "alertas", to_json({**error, "message": "4", "tarjetas": [int(secret)]})


def spoken(text: str) -> tuple[str, str]:
    secret = words()
    return secret, text.replace(SECRET, secret)


async def test_no_planted_secret_is_found_anywhere(
    world: World,
    streams: Streams,
    server: DiscordServer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("ALERT_DB_DSN", world.alert_dsn)
    secrets = [words(), server.webhook_url.rsplit("/", 1)[-1]]
    async with SmtpServer(tls="implicit", login=("alertas@familia.mx", secrets[0])) as smtp:
        configure(world, server, smtp, secrets[0])
        source = planted()
        async with world.running() as processor:
            while len(secrets) < COUNT:
                secret, canal, payload = next(source)
                secrets.append(secret)
                world.write(canal, payload)
                streams.add(canal, payload)
            settled = "SELECT count(*) FROM notifications WHERE status = 'pending'"
            seen = "SELECT count(*) FROM alerts"
            await eventually(lambda: world.alert(seen)[0][0] > COUNT // 2, 60.0)
            await eventually(lambda: world.alert(settled) == [(0,)], 90.0)
            pages = await read_pages(processor.puerto)
        mails = [repr(received) + received.mail.as_string() for received in smtp.messages]
    assert len(mails) > COUNT // 2
    assert len(server.messages) > COUNT // 20
    found = {
        "alert_db": dump(world),
        "log": "\n".join(
            r.getMessage() + str(r.exc_text) for r in caplog.records if is_ours(r.name)
        ),
        "mail": "".join(mails),
        "discord": json.dumps(server.messages, ensure_ascii=False),
        "pages": pages,
        "command line": command_line(world),
        "reports": reports(world, streams),
    }
    assert all(len(text) > 100 for text in found.values())
    leaks = [(where, s) for where, text in found.items() for s in secrets if s in text]
    assert leaks == []


def is_ours(logger: str) -> bool:
    return logger.split(".")[0] not in ("mail", "asyncio", "aiohttp")


def configure(world: World, discord: DiscordServer, smtp: SmtpServer, password: str) -> None:
    world.config["notification_config"] |= {
        "email": {
            "enabled": True,
            "per_minute": None,
            "digest_above": None,  # every word of every event
            "smtp_server": smtp.host,
            "smtp_port": smtp.port,
            "tls": "implicit",
            "ca_file": str(smtp.ca_file),
            "sender": "alertas@familia.mx",
            "recipient": "ana@familia.mx",
            "username": "alertas@familia.mx",
            "password": password,
        },
        "discord": {"enabled": True, "digest_above": None, "webhook_url": discord.webhook_url},
    }


async def read_pages(port: int | None) -> str:
    async with aiohttp.ClientSession() as session:
        texts = []
        for page in ("metrics", "health"):
            async with session.get(f"http://127.0.0.1:{port}/{page}") as answer:
                texts.append(await answer.text())
    return "".join(texts)


def dump(world: World) -> str:
    return "\n".join(
        str(row[0]) for table in TABLES for row in world.alert(f"SELECT t::text FROM {table} AS t")
    )


def command_line(world: World) -> str:
    calls = [("list", "--limit", "500"), ("list", "--limit", "500", "--json"), ("check-config",)]
    calls += [("show", str(alert["id"])) for alert in world.alerts()]
    return "".join(CliRunner().invoke(main, list(call)).output for call in calls)


def reports(world: World, streams: Streams) -> str:
    rows = world.corec("SELECT datos FROM eventos WHERE canal = 'alert_data'")
    frames = [bytes(row[0]) for row in rows]
    entries: Any = streams.client.xrange("alert_data")
    frames += [fields[b"data"] for _, fields in entries]
    texts = [
        zstandard.ZstdDecompressor().decompress(frame) if frame[:4] == b"\x28\xb5\x2f\xfd" else b""
        for frame in frames
    ]
    return "".join(text.decode() for text in texts if b'"alert_manager"' in text)
