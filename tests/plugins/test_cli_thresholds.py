"""`alerts.sh thresholds`: what they are now, and changing one."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from src.plugins.alert_manager.cli.main import main
from tests.plugins.conftest import SCHEMA, World, eventually, show_to_commands


async def command(*arguments: str) -> Result:
    """Beside the loop of the test, as it makes one of its own."""
    return await asyncio.to_thread(CliRunner().invoke, main, ["thresholds", *arguments])


async def test_the_command_line_changes_a_threshold_of_who_runs(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    show_to_commands(world, monkeypatch, tmp_path)
    async with world.running():
        world.write("trading_results", b'{"profit": -150, "symbol": "BTC/USDT"}')
        await eventually(lambda: len(world.alerts()) == 1)
        said = await command("set", "loss", "200", "--who", "ana")
        assert (said.exit_code, said.output) == (0, "loss: 200 en vez de 100.\n")
        world.write("trading_results", b'{"profit": -190, "symbol": "BTC/USDT"}')
        last = world.write("trading_results", b'{"profit": -210, "symbol": "BTC/USDT"}')
        await eventually(lambda: [alert["event_id"] for alert in world.alerts()][1:] == [last])
    assert (await command("set", "loss", "200")).output == "loss ya valía 200.\n"
    shown = {one["name"]: one for one in json.loads((await command("list", "--json")).stdout)}
    assert (shown["loss"]["value"], shown["loss"]["base"]) == (200, 100)
    assert shown["loss"]["changed_by"] == "ana (alerts.sh)"
    assert shown["vix"]["changed_by"] is None
    lines = (await command("list")).output.splitlines()
    [line] = [text for text in lines if text.startswith("loss ")]
    assert line.split()[:3] == ["loss", "200", "100"]
    assert json.loads((await command("set", "roi", "-7.5", "--json")).stdout)["value"] == -7.5


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("nada", "3"), 1, "no existe el umbral nada; se permite: api_errors, "),
        (("vix", "2000"), 1, "vix_threshold: se encontró 2000; se permite de 10 a 80"),
        (("vix", "41"), 1, "así las reglas no tendrían sentido"),  # over vix_critical
        (("vix", "nan"), 1, "se espera un número"),
        (("vix", "mucho"), 2, "mucho"),
    ],
)
async def test_the_command_line_refuses_what_a_command_may_not_set(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    arguments: tuple[str, ...],
    code: int,
    message: str,
) -> None:
    show_to_commands(world, monkeypatch, tmp_path)
    world.alert(SCHEMA.read_text(encoding="utf-8"))
    result = await command("set", *arguments)
    assert result.exit_code == code
    assert message in result.output
    assert world.alert("SELECT count(*) FROM threshold_changes") == [(0,)]
