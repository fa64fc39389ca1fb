"""`alerts.sh list`, `tail` and `stats`: which alerts there were, and which come now."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from psycopg2.extensions import make_dsn

from src.plugins.alert_manager.cli.main import main
from tests.plugins.conftest import PROJECT, SCHEMA, World, show_to_commands
from tests.support.proxy import postgres_proxy

DAY = 1_764_000_000.0  # 2025-11-24 10:00 in Mexico City


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def ids(*arguments: str) -> list[int]:
    result = run("list", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return [alert["id"] for alert in json.loads(result.stdout)]


def add(world: World, **columns: Any) -> int:
    row = {
        "severity": "alta",
        "message": "Algo pasó",
        "channel": "alertas",
        "event_data": "{}",
        "timestamp": DAY,
        "rule": "una",
        **columns,
    }
    names = ", ".join(row)
    sql = f"INSERT INTO alerts ({names}) VALUES ({', '.join(['%s'] * len(row))}) RETURNING id"
    return int(world.alert(sql, list(row.values()))[0][0])


@pytest.fixture
def stored(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    show_to_commands(world, monkeypatch, tmp_path)
    world.alert(SCHEMA.read_text(encoding="utf-8"))
    return world


@pytest.fixture
def four(stored: World) -> World:
    add(stored, severity="critica", rule="vix", channel="macro_data", title="VIX en 45")
    add(stored, event_data='{"plugin": "macro_sync"}', status="reconocida", timestamp=DAY + 3600)
    add(stored, severity="baja", message="100 % de_algo", timestamp=DAY + 86400, occurrences=7)
    add(stored, event_data='{"plugin": "okx"}', status="resuelta", timestamp=DAY + 2 * 86400)
    return stored


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), [4, 3, 2, 1]),
        (("--severity", "crítica"), [1]),
        (("--severity", "critica", "--severity", "baja"), [3, 1]),
        (("--channel", "macro_data"), [1]),
        (("--plugin", "okx"), [4]),
        (("--plugin", "okx", "--plugin", "macro_sync"), [4, 2]),
        (("--rule", "vix"), [1]),
        (("--status", "reconocida"), [2]),
        (("--status", "abierta", "--status", "resuelta"), [4, 3, 1]),
        (("--since", "2025-11-24T11:00"), [4, 3, 2]),
        (("--until", "2025-11-24T11:00"), [1]),
        (("--since", "2025-11-24T10:30", "--until", "2025-11-25T10:00-06:00"), [2]),
        (("--since", "1h"), []),
        (("--text", "vix EN"), [1]),
        (("--text", "% de_"), [3]),
        (("--text", "_"), [3]),
        (("--text", "\\"), []),
        (("--rule", "una", "--severity", "alta", "--limit", "1"), [4]),
        (("--rule", "'; DROP TABLE alerts; --"), []),
    ],
)
def test_list_filters(four: World, arguments: tuple[str, ...], expected: list[int]) -> None:
    assert ids(*arguments) == expected


def test_list_says_that_nothing_is_so(four: World) -> None:
    assert run("list", "--rule", "otra").output == "No hay alertas así.\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--since", "ayer"), "--since"),
        (("--until", "2025-13-01"), "--until"),
        (("--severity", "grave"), "--severity"),
        (("--status", "rota"), "abierta"),
    ],
)
def test_what_means_nothing_is_wrong_usage(
    four: World, arguments: tuple[str, ...], message: str
) -> None:
    result = run("list", *arguments)
    assert result.exit_code == 2
    assert message in result.output


def test_the_table_shows_how_each_alert_stands(four: World) -> None:
    lines = [" ".join(line.split()) for line in run("list").output.splitlines()]
    assert lines[0] == "id severidad estado hora (America/Mexico_City) veces título"
    assert lines[2] == "3 baja abierta 25/11/2025 10:00:00 7 100 % de_algo"
    assert lines[4] == "1 crítica abierta 24/11/2025 10:00:00 1 VIX en 45"


def test_stats_count_by_day_severity_and_rule(four: World) -> None:
    text = run("stats", "--since", "beginning").output
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[1:4] == [
        "2025-11-24 2 " + "█" * 20 + "▓" * 20,
        "2025-11-25 1 " + "░" * 20,
        "2025-11-26 1 " + "▓" * 20,
    ]
    assert "una alta 2 2 1 26/11/2025 10:00:00" in lines
    assert "una baja 1 7 1 25/11/2025 10:00:00" in lines
    found = json.loads(
        run("stats", "--since", "beginning", "--severity", "critica", "--json").output
    )
    assert found["days"] == [{"day": "2025-11-24", "severity": "critica", "alerts": 1, "events": 1}]
    assert run("stats").output == "No hay alertas.\n"  # in the last week


def test_stats_show_days_without_alerts_and_what_became_of_messages(stored: World) -> None:
    for timestamp in (DAY, DAY + 3 * 86400, 1e300):
        alert_id = add(stored, timestamp=timestamp)
        stored.alert(
            "INSERT INTO notifications (alert_id, channel, severity, status)"
            " VALUES (%s, 'discord', 3, 'dead') RETURNING id",
            (alert_id,),
        )
    lines = [
        " ".join(line.split()) for line in run("stats", "--since", "beginning").output.splitlines()
    ]
    assert [line.split()[:2] for line in lines[1:6]] == [
        ["?", "1"],
        ["2025-11-24", "1"],
        ["2025-11-25", "0"],
        ["2025-11-26", "0"],
        ["2025-11-27", "1"],
    ]
    assert "discord abandonado 3" in lines


@asynccontextmanager
async def tailing(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """`alerts.sh tail` as somebody sees it; ended by Ctrl-C, which is no fault."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "src.plugins.alert_manager.cli", "tail", *arguments),
        cwd=PROJECT,
        env={**os.environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield process
        process.send_signal(signal.SIGINT)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def read(stream: asyncio.StreamReader | None) -> str:
    assert stream is not None
    return (await asyncio.wait_for(stream.readline(), 20)).decode()


async def test_tail_shows_what_comes_from_now_on(four: World) -> None:
    async with tailing("-n", "2", "--severity", "alta", "--json") as process:
        before = [json.loads(await read(process.stdout))["id"] for _ in range(2)]
        assert before == [2, 4]
        add(four, severity="media")
        sixth = await asyncio.to_thread(lambda: add(four, title="a\x9b31mb"))
        line = await read(process.stdout)
        assert "\x9b" not in line
        assert json.loads(line)["id"] == sixth


@pytest.mark.long
async def test_tail_goes_on_after_alert_db_was_away(
    stored: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    with postgres_proxy(stored.alert_dsn) as (proxy, parameters):
        monkeypatch.setenv("ALERT_DB_DSN", make_dsn(**parameters))
        async with tailing() as process:
            add(stored, title="Primera")
            assert (await read(process.stdout)).endswith("alta     1  Primera\n")
            proxy.freeze()
            assert "alert_db no responde, se sigue esperando" in await read(process.stderr)
            add(stored, title="Segunda")
            proxy.thaw()
            assert await read(process.stderr) == "alert_db responde de nuevo.\n"
            assert (await read(process.stdout)).endswith("alta     2  Segunda\n")


async def test_tail_waits_for_the_first_start(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERT_DB_DSN", world.alert_dsn)
    async with tailing("--json") as process:
        world.alert(SCHEMA.read_text(encoding="utf-8"))
        add(world)
        assert json.loads(await read(process.stdout))["id"] == 1
