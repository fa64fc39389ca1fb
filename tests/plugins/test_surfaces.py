"""What operators use: the command line, `/health` and `/metrics`."""

from __future__ import annotations

import json
from pathlib import Path

import aiohttp
import pytest
from babel.messages.mofile import read_mo
from babel.messages.pofile import read_po
from click.testing import CliRunner, Result

from src.plugins.alert_manager.cli import spanish
from src.plugins.alert_manager.cli.main import main
from src.plugins.alert_manager.web.server import Address
from tests.plugins.conftest import SHIPPED_CONFIG, World, eventually
from tests.plugins.test_alert_manager import SPEC_EVENTS


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


async def test_show_tells_how_an_alert_ended(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_DB_DSN", world.alert_dsn)
    async with world.running():
        for value in (b"22", b"17"):
            world.write("macro_data", b'{"vix_price": %s}' % value, 1_764_000_000.0)
        sent = "SELECT count(*) FROM notifications WHERE kind = 'recovery' AND status = 'sent'"
        await eventually(lambda: world.alert(sent) == [(1,)])
    text = run("show", "1").output
    assert "24/11/2025 10:00:00: La volatilidad bajó: VIX en 17." in text
    assert "log (que se resolvió): enviado, intentos 1" in text


@pytest.fixture
async def five(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """The five events of the spec, judged and told."""
    monkeypatch.setenv("ALERT_DB_DSN", world.alert_dsn)
    async with world.running():
        for canal, datos, _ in SPEC_EVENTS:
            world.write(canal, datos)
        await eventually(
            lambda: (
                world.alert("SELECT count(*) FROM notifications WHERE status = 'sent'") == [(15,)]
            )
        )
    return world


def test_alerts_are_shown_while_the_configuration_is_not_valid(
    five: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "alertas.yaml"
    broken.write_text("alert_config: [", encoding="utf-8")
    monkeypatch.setenv("ALERT_MANAGER_CONFIG", str(broken))
    listed, shown = run("list"), run("show", "1")
    assert (listed.exit_code, shown.exit_code) == (0, 0)
    assert "Pérdida de $150.00 en BTC/USDT" in listed.stdout
    assert "no es YAML" in listed.stderr
    monkeypatch.delenv("ALERT_DB_DSN")
    assert run("list").exit_code == 1  # nobody knows where alert_db is


def test_list_shows_the_newest_first_and_filters(five: World) -> None:
    lines = run("list").output.splitlines()
    assert (
        " ".join(lines[0].split()) == "id severidad estado hora (America/Mexico_City) veces título"
    )
    assert [line.split()[0] for line in lines[1:]] == ["5", "4", "3", "2", "1"]
    assert "Pérdida de $150.00 en BTC/USDT" in lines[4]
    assert all("\x1b" not in line for line in lines)
    urgent = json.loads(run("list", "--severity", "crítica", "--json").output)
    assert [(a["id"], a["severity"]) for a in urgent] == [(1, "critica")]
    one = json.loads(run("list", "--channel", "macro_data", "--json").output)
    assert [a["rule"] for a in one] == ["vix"]
    assert len(json.loads(run("list", "--limit", "2", "--json").output)) == 2


def test_show_tells_everything_of_one_alert(five: World) -> None:
    text = run("show", "3").output
    assert "Retiro de $600.00 de user1" in text
    assert "log: enviado, intentos 1" in text
    assert "Resuelta" not in text
    alert = json.loads(run("show", "3", "--json").output)
    assert alert["event_data"] == {"user_id": "user1", "action": "withdraw", "amount": 600.0}
    assert {n["channel"] for n in alert["notifications"]} == {
        "log",
        "alert_data",
        "alert_data_stream",
    }


def test_times_are_those_of_the_messages_and_name_their_zone(five: World) -> None:
    five.alert("UPDATE alerts SET timestamp = 1764000000 WHERE id = 3 RETURNING id")
    five.alert("UPDATE alerts SET timestamp = 1e300 WHERE id = 2 RETURNING id")
    [line] = [line for line in run("list").output.splitlines() if line.startswith("3 ")]
    assert "24/11/2025 10:00:00" in line
    assert "24/11/2025 10:00:00 (America/Mexico_City)" in run("show", "3").output
    assert "1e+300 s" in run("show", "2").output


def test_nothing_that_an_alert_says_commands_the_terminal(five: World) -> None:
    """0x9b opens a terminal's command as ESC [ does; U+202E turns the text around."""
    evil = "a\x9b31mb\u202ec\x7fd"
    five.alert(
        "UPDATE alerts SET title = %s, message = %s, event_data = jsonb_build_object('x', %s::text)"
        " WHERE id = 3 RETURNING id",
        (evil, evil, evil),
    )
    for arguments in (("list",), ("show", "3"), ("list", "--json"), ("show", "3", "--json")):
        output = run(*arguments).output
        assert not set("\x9b\x7f\u202e\x1b") & set(output), arguments
    shown = json.loads(run("show", "3", "--json").output)
    assert (shown["title"], shown["event_data"]) == (evil, {"x": evil})


def test_exit_codes_that_scripts_can_use(five: World, monkeypatch: pytest.MonkeyPatch) -> None:
    missing = run("show", "99")
    assert (missing.exit_code, missing.output) == (1, "No existe la alerta 99.\n")
    assert run("list", "--severity", "grave").exit_code == 2
    monkeypatch.setenv("ALERT_DB_DSN", "postgresql://x:s3creto@127.0.0.1:1/x")
    down = run("list")
    assert down.exit_code == 3
    assert "start.sh" in down.output
    assert "s3creto" not in down.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--help",), "Órdenes:"),
        (("list", "--help"), "Muestra esta ayuda."),
        (("list", "--help"), "[por defecto: 20; 1<=x<=10000]"),
        (("lst",), "No existe la orden 'lst'."),
        (("list", "--severidad", "alta"), "No existe la opción '--severidad'."),
        (("list", "--limit", "muchas"), "se encontró 'muchas'; se espera un número"),
        (("silence", "add", "rule=x"), "Falta la opción '--reason'"),
        (("ack",), "Falta el argumento 'ID…'"),
        (("show", "1", "2"), "Sobra un argumento (2)"),
    ],
)
def test_usage_is_told_in_spanish(arguments: tuple[str, ...], said: str) -> None:
    assert said in run(*arguments).output


def test_the_catalogue_of_what_click_says_is_compiled() -> None:
    source = Path(spanish.__file__).with_name("locale") / "es" / "LC_MESSAGES" / "messages.po"
    with source.open("rb") as file:
        written = read_po(file)
    with source.with_suffix(".mo").open("rb") as file:
        compiled = read_mo(file)
    ours, shipped = (
        {tuple(m.id or ""): tuple(m.string or "") for m in catalogue if m.id}
        for catalogue in (written, compiled)
    )
    assert shipped == ours  # or pybabel compile, as the file says


def test_an_empty_alert_db_is_said(alert_dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_DB_DSN", alert_dsn)
    assert run("list").output == "No hay alertas.\n"


def test_check_config_says_yes_or_what_is_wrong(tmp_path: Path) -> None:
    good = run("check-config")
    assert good.exit_code == 0
    assert "válido" in good.output
    bad = tmp_path / "malo.yaml"
    text = SHIPPED_CONFIG.read_text(encoding="utf-8")
    bad.write_text(text.replace("vix: 20 ", "vix: veinte "), encoding="utf-8")
    result = run("check-config", str(bad))
    assert result.exit_code == 1
    assert "alert_config.thresholds.vix: se encontró 'veinte'" in result.output


async def test_health_and_metrics_answer_on_the_port_in_the_file(
    world: World, tmp_path: Path
) -> None:
    async with world.running(), aiohttp.ClientSession() as client:
        port = (tmp_path / "home" / "http.port").read_text().strip()
        world.write(*SPEC_EVENTS[0][:2])
        await eventually(lambda: len(world.alerts()) == 1)
        async with client.get(f"http://127.0.0.1:{port}/health") as answer:
            assert answer.status == 200
            assert (await answer.json())["estado"] == "ok"
        async with client.get(f"http://127.0.0.1:{port}/metrics") as answer:
            text = await answer.text()
    assert 'alert_manager_alerts_total{rule="circuit_breaker",severity="critica"} 1.0' in text


async def test_a_token_is_asked_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COREC_HTTP_TOKEN", "abracadabra")
    async with world.running() as processor, aiohttp.ClientSession() as client:
        url = f"http://127.0.0.1:{processor.puerto}/health"
        for headers, status in (
            ({}, 401),
            ({"Authorization": "Bearer otra"}, 401),
            ({"Authorization": "Bearer abracadabra"}, 200),
        ):
            async with client.get(url, headers=headers) as answer:
                assert answer.status == status


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"COREC_HTTP_PORT": "http"}, "COREC_HTTP_PORT: se encontró 'http'"),
        ({"COREC_HTTP_PORT": "70000"}, "COREC_HTTP_PORT"),
        ({"COREC_HTTP_HOST": "0.0.0.0"}, "COREC_HTTP_TOKEN"),
        ({"COREC_HTTP_HOST": "mi.servidor"}, "COREC_HTTP_TOKEN"),
    ],
)
def test_an_address_that_others_could_see_needs_a_token(
    environ: dict[str, str], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        Address.from_environment(environ)
    if "HOST" in message:
        assert Address.from_environment({**environ, "COREC_HTTP_TOKEN": "x"}).token == "x"


async def test_a_taken_port_stops_no_alert(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    async with world.running("corec1") as first:
        monkeypatch.setenv("COREC_HTTP_PORT", str(first.puerto))
        async with world.running("corec2") as second:
            assert second.puerto is None
            world.write(*SPEC_EVENTS[0][:2])
            await eventually(lambda: len(world.alerts()) == 1)
