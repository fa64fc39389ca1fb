"""`alerts.sh status`: what a running CoreC says of itself, and what alert_db says of it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from src.plugins.alert_manager.cli.main import main
from tests.plugins.conftest import World, eventually, show_to_commands
from tests.plugins.payloads import to_json
from tests.plugins.test_delivery import statuses, tell
from tests.support.discord import BROKEN, DiscordServer


async def run(*arguments: str) -> Result:
    """Beside the loop of the test, in which what it asks runs."""
    return await asyncio.to_thread(CliRunner().invoke, main, ["status", *arguments])


@pytest.fixture
def shown(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    show_to_commands(world, monkeypatch, tmp_path)
    return world


async def test_all_is_well(shown: World) -> None:
    async with shown.running():
        shown.write("macro_data", to_json({"vix_price": 45}))
        await eventually(lambda: statuses(shown, "log") == {"sent": 1})
        await eventually(lambda: shown.alert("SELECT caught_up FROM reader_positions")[0][0])
        result = await run()
        found = json.loads((await run("--json")).stdout)
    assert result.exit_code == 0, result.output
    text = " ".join(result.output.split())
    assert "Estado: ok" in text
    assert "✓ corec_db: ok" in text
    assert "eventos corec1 hace" in text
    assert "Alertas de 30 días: crítica abierta: 1" in text
    assert "0 eventos apartados en el último día; 0 silencios puestos." in text
    assert found["health"]["estado"] == "ok"
    assert {row["source"] for row in found["sources"]} == {"eventos", "streams"}


async def test_what_is_wrong_is_named(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with DiscordServer() as discord:
        tell(world, discord, None)
        show_to_commands(world, monkeypatch, tmp_path)
        discord.always = BROKEN
        async with world.running():
            world.write("trading_results", to_json({"profit": -500, "symbol": "BTC/USDT"}))
            world.write("trading_results", b"{roto")
            await eventually(lambda: "canal_caido" in [a["rule"] for a in world.alerts()])
            await eventually(lambda: world.alert("SELECT count(*) FROM dead_letters") == [(1,)])
            text = " ".join((await run()).output.split())
    assert "✗ canal discord: circuit breaker abierto: Discord respondió 502" in text
    assert "1 evento apartado en el último día" in text
    assert "discord 1 " in text  # that waits


async def test_a_token_is_sent_and_missed(shown: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COREC_HTTP_TOKEN", "abracadabra")
    async with shown.running():
        assert json.loads((await run("--json")).stdout)["health"] is not None
        monkeypatch.delenv("COREC_HTTP_TOKEN")
        result = await run()
    assert result.exit_code == 1
    assert "pide un token: define COREC_HTTP_TOKEN" in result.output


async def test_when_it_does_not_run_alert_db_still_tells(
    shown: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with shown.running():
        shown.write("macro_data", to_json({"vix_price": 45}))
        await eventually(lambda: len(shown.alerts()) == 1)
    (tmp_path / "home" / "http.port").write_text("1\n", encoding="utf-8")
    result = await run()
    assert result.exit_code == 1
    assert "http://127.0.0.1:1/health no responde" in result.output
    assert "./scripts/start.sh" in result.output
    assert "crítica abierta: 1" in result.output
    monkeypatch.setenv("ALERT_DB_DSN", "postgresql://x@127.0.0.1:1/x")
    assert (await run()).exit_code == 3


async def test_without_alert_db_corec_still_tells(
    shown: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shown.running():
        monkeypatch.setenv("ALERT_DB_DSN", "postgresql://x@127.0.0.1:1/x")
        result, as_json = await run(), await run("--json")
    assert (result.exit_code, as_json.exit_code) == (3, 3)
    assert "Estado: ok" in " ".join(result.output.split())
    assert "alert_db no responde" in result.stderr
    found = json.loads(as_json.stdout)
    assert found["health"]["estado"] == "ok"
    assert "alert_db no responde" in found["alert_db"]


async def test_another_program_on_the_port_is_no_corec(shown: World, tmp_path: Path) -> None:
    async with DiscordServer() as other:
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / "http.port").write_text(f"{other.port}\n", encoding="utf-8")
        result = await run()
    assert result.exit_code == 1
    assert "¿usa ese puerto otro programa?" in result.output
