"""`alerts.sh explain`: why an event is an alert or is none; nothing is stored or sent."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from src.plugins.alert_manager.cli.main import main
from src.plugins.alert_manager.domain.explain import explain as explained
from src.plugins.alert_manager.domain.model import Event, Match
from src.plugins.alert_manager.domain.rules import compile_rules
from src.plugins.alert_manager.settings import check
from tests.plugins.conftest import World, eventually, shipped_config
from tests.plugins.payloads import to_json
from tests.plugins.test_alert_manager import EVENTS
from tests.plugins.test_shipped_rules import OTHERS

ALERTS = check(shipped_config()).settings.alert_config


def explain(canal: str, payload: Any, *options: str) -> Result:
    text = payload if isinstance(payload, str) else json.dumps(payload)
    return CliRunner().invoke(main, ["explain", "--canal", canal, "--payload", text, *options])


@pytest.mark.parametrize(
    ("canal", "payload"),
    [(e["canal"], e["payload"]) for e in EVENTS]
    + [(canal, payload) for canal, payload, _ in OTHERS],
)
def test_it_finds_what_the_rules_find(canal: str, payload: dict[str, Any]) -> None:
    event = Event("eventos", 1, canal, payload, 1_763_872_000.0, None)
    judged = compile_rules(ALERTS.specs(), ALERTS.thresholds)(event)
    found = explained(ALERTS.specs(), ALERTS.thresholds, event)
    assert [one.found for one in found if one.found is not None] == judged
    for one in found:
        assert one.reasons or one.found is not None
        if isinstance(one.found, Match):
            assert all(reason.holds for reason in one.reasons)
        if one.found is None:
            assert not all(reason.holds for reason in one.reasons)


async def test_it_says_why_and_who_is_told_and_stores_nothing(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERT_DB_DSN", world.alert_dsn)
    loss = {"profit": -1500, "symbol": "BTC/USDT", "exchange": "kraken", "user_id": "ana"}
    async with world.running():
        text = explain("trading_results", loss).output
        assert "perdida: sí" in text
        assert "✓ profit es -1500; profit: alta con <= -100, crítica con <= -1000" in text
        assert "ganancia: no" in text
        assert "✗ profit es -1500; profit: baja con >= 200" in text
        assert "racha_de_perdidas: recuerda" in text
        assert "Alerta crítica: Pérdida de $1,500.00 en BTC/USDT" in text
        assert "Avisa por: log, alert_data, alert_data_stream" in text
        answer = json.loads(explain("trading_results", loss, "--json").output)
        assert [alert["rule"] for alert in answer["alerts"]] == ["perdida"]
        assert world.alerts() == []
        assert world.alert("SELECT count(*) FROM rule_states") == [(0,)]


async def test_it_knows_what_is_remembered_and_what_was_changed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALERT_DB_DSN", world.alert_dsn)
    error = {"tipo": "api_error", "plugin": "p", "exchange": "kraken", "message": "503"}
    async with world.running():
        for _ in range(4):
            world.write("alertas", to_json(error))
        world.write("alert_data", b'{"action": "update_threshold", "gain_threshold": 300}')
        await eventually(lambda: world.alert("SELECT count(*) FROM threshold_changes") == [(1,)])
        answer = json.loads(explain("alertas", error, "--json").output)
        assert [alert["rule"] for alert in answer["alerts"]] == ["error_de_api", "api_repetida"]
        assert "Ninguna alerta." in explain("trading_results", {"profit": 250}).output


def test_what_cannot_be_explained_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALERT_DB_DSN", "host=/nonexistent dbname=x")
    unwatched = explain("otro", {})
    assert (unwatched.exit_code, "El canal otro no se vigila" in unwatched.output) == (1, True)
    unread = explain("alertas", "{{{ password=hunter2-K3Y")
    assert (unread.exit_code, "El evento no se entiende" in unread.output) == (1, True)
    assert "hunter2" not in unread.output
    bytes_ = explain("alertas", "\udcff{}")  # as the shell hands over what is no UTF-8
    assert (bytes_.exit_code, "El evento no se entiende" in bytes_.output) == (1, True)
    alone = explain("macro_data", {"vix_price": 22})
    assert alone.exit_code == 0
    assert "alert_db no responde: se explica con los umbrales del archivo." in alone.output
    assert "Alerta alta: VIX en 22" in alone.output


def test_a_secret_in_the_event_is_not_shown_and_judged_all_the_same() -> None:
    shown = explain("alertas", {"tipo": "x", "plugin": "token=hunter2-K3Y"}).output
    assert "hunter2" not in shown
    # An amount that has the form of a card's number.
    retiro = explain("capital_data", {"action": "withdraw", "amount": 4111111111111111}).output
    assert "retiro: sí" in retiro
    assert "✓ amount es [oculto 411111…1111]" in retiro
    assert "4111111111111111" not in retiro
