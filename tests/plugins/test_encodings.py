"""Databases without an encoding, as a server in the C locale makes them: Spanish arrives."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.plugins.conftest import World, eventually, show_to_commands
from tests.plugins.payloads import to_json
from tests.plugins.test_delivery import statuses, tell
from tests.plugins.test_life import LOSS, run
from tests.support.discord import DiscordServer
from tests.support.servers import TestPostgres

SQL_ASCII = "TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"


async def test_a_database_in_sql_ascii_loses_no_letter(
    world: World,
    server: DiscordServer,
    postgres_server: TestPostgres,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    world.alert_dsn = postgres_server.create_database("ascii", "alert_user", SQL_ASCII)
    assert world.alert("SHOW server_encoding") == [("SQL_ASCII",)]
    tell(world, server, None)
    show_to_commands(world, monkeypatch, tmp_path)
    async with world.running():
        world.write("trading_results", to_json({**LOSS, "usuario": "Begoña"}))
        await eventually(lambda: statuses(world, "discord") == {"sent": 1})
    assert "Pérdida" in server.embeds[0]["title"]
    listed = run("list", "--json")
    assert listed.exit_code == 0, listed.output
    assert "Pérdida" in json.loads(listed.stdout)[0]["title"]
