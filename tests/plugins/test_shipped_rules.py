"""The shipped rules in a running plugin: every event of the family's list, and every plugin."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from src.plugins.alert_manager.domain.model import Severity
from src.plugins.alert_manager.domain.redact import redact
from tests.plugins.conftest import Streams, World, eventually
from tests.plugins.payloads import ENCODINGS, to_json
from tests.plugins.test_alert_manager import EVENTS, judged_severity

ORDER = {"exchange": "kraken", "symbol": "BTC/USDT", "order_id": "8871"}
INSIGHT = {"plugin": "predictor_temporal", "action": "retrain_model", "details": {}}
OTHERS: list[tuple[str, dict[str, Any], str | None]] = [
    ("capital_data", {"action": "update_phase", "phase": "aggressive"}, "baja"),
    ("exchange_data", {**ORDER, "status": "rejected"}, "media"),
    ("exchange_data", {**ORDER, "status": "open"}, None),
    ("exchange_data", {**ORDER, "price": 35_000.0, "volume": 1.5}, None),
    ("corec_stream_corec1", {"symbol": "BTC/USDT", "prediction": 35_000.0, "mse": None}, None),
    ("corec_stream_corec1", {"symbol": "BTC/USDT", "prediction": 35_000.0, "mse": 0.09}, None),
    ("corec_stream_corec1", {"symbol": "BTC/USDT", "prediction": 35_000.0, "mse": 0.1}, "media"),
    ("system_insights", {"metrics": {}, "recommendations": []}, None),
    ("system_insights", {"metrics": {}, "recommendations": [INSIGHT, INSIGHT]}, "baja"),
    ("market_data", {"symbol": "BTC/USDT", "price": 35_000.0}, None),
    ("alertas", {"tipo": "processing_error", "plugin": "cli_manager", "message": "x"}, "media"),
    ("alertas", {"tipo": "analysis_error", "plugin": "system_analyzer", "message": "x"}, "media"),
    ("alertas", {"tipo": "de mañana", "plugin": "futuro", "campo": {"nuevo": [1, None]}}, "media"),
    ("alertas", {}, "media"),
]


@pytest.mark.parametrize(("canal", "payload", "severity"), OTHERS)
def test_every_plugin_is_watched(canal: str, payload: dict[str, Any], severity: str | None) -> None:
    assert judged_severity(canal, to_json(payload)) == severity


@pytest.mark.parametrize("road", ["table", "stream"])
async def test_each_event_of_the_list_gets_its_severity_by_either_road(
    world: World, streams: Streams, road: str
) -> None:
    encodings = itertools.cycle(ENCODINGS.values())
    marker = to_json({"tipo": "t", "plugin": "the last one"})
    async with world.running():
        for event in EVENTS:
            if road == "table":
                datos = next(encodings)(event["payload"])
                world.write(event["canal"], datos if isinstance(datos, bytes) else datos.encode())
            else:
                streams.add(event["canal"], to_json(event["payload"]))
        count = sum(event["severity"] is not None for event in EVENTS)
        await eventually(lambda: len(told(world)) >= count)
        (streams.add if road == "stream" else world.write)("alertas", marker)
        await eventually(lambda: told(world).pop(text({"tipo": "t", "plugin": "the last one"}), 0))
    found = told(world)
    for event in EVENTS:
        severity = found.pop(text(redact(event["payload"])), None)
        assert severity == event["severity"], event
    assert list(found.values()) == ["media"]  # the marker
    assert world.alert("SELECT reason FROM dead_letters") == []


def told(world: World) -> dict[str, str]:
    """The most urgent severity of each event that was told."""
    found: dict[str, Severity] = {}
    for alert in world.alerts():
        data = dict(alert["event_data"])
        data.pop("context", None)
        severity = Severity.parse(alert["severity"])
        found[text(data)] = max(severity, found.get(text(data), severity))
    return {data: severity.key for data, severity in found.items()}


def text(data: Any) -> str:
    return json.dumps(data, sort_keys=True)


async def test_the_fifth_loss_of_a_user_in_an_hour_is_told(world: World) -> None:
    def streaks() -> list[str]:
        return [a["title"] for a in world.alerts() if a["rule"] == "racha_de_perdidas"]

    async with world.running():
        for number in range(5):
            for user in ("ana", "beto"):
                if user == "beto" and number == 4:
                    continue
                loss = {"profit": -1.0 - number, "symbol": "BTC/USDT", "user_id": user}
                world.write("trading_results", to_json(loss))
        await eventually(streaks)
    assert streaks() == ["ana encadena pérdidas"]
