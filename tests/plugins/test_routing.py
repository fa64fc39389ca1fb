"""Who is told of an alert: routes in their order, a default, least severities, the log always."""

from __future__ import annotations

from typing import Any

import pytest

from src.plugins.alert_manager.config_file import ConfigError
from src.plugins.alert_manager.domain.model import Severity
from src.plugins.alert_manager.settings import check
from tests.plugins.conftest import World, eventually, shipped_config
from tests.plugins.payloads import to_json
from tests.plugins.test_delivery import statuses, tell
from tests.support.discord import BROKEN, DiscordServer
from tests.support.smtp import SmtpServer

WEBHOOK = {"type": "webhook", "url": "https://x.example/", "secret": "s" * 16}
ROUTES: list[dict[str, Any]] = [
    {"rules": "retiro", "users": ["ana"], "to": "de_ana", "continue": True},
    {"channels": ["capital_data"], "to": ["dinero"]},
    {"plugins": "trading_execution", "min_severity": "crítica", "to": ["todos", "dinero"]},
    {"plugins": "apagado", "to": ["sin_usar"]},
]


def configured(**routing: Any) -> dict[str, Any]:
    config = shipped_config()
    names = ["todos", "dinero", "de_ana", "sin_usar"]
    config["notification_channels"] = ["log", *names]
    config["notification_config"] = dict.fromkeys(names, WEBHOOK)
    config["notification_config"]["sin_usar"] = {"type": "webhook", "enabled": False}
    config["notification_config"]["de_ana"] = {**WEBHOOK, "min_severity": "alta"}
    config["alert_config"]["routing"] = routing
    return config


ALTA, CRITICA, BAJA = Severity.ALTA, Severity.CRITICA, Severity.BAJA


@pytest.mark.parametrize(
    ("severity", "rule", "channel", "data", "told"),
    [
        (ALTA, "retiro", "capital_data", {"user_id": "ana"}, ["dinero", "de_ana"]),
        (BAJA, "retiro", "capital_data", {"user_id": "ana"}, ["dinero"]),  # too little for de_ana
        (ALTA, "retiro", "capital_data", {"user_id": "eva"}, ["dinero"]),
        (ALTA, "aportacion", "capital_data", {"user_id": "ana"}, ["dinero"]),
        (CRITICA, "x", "alertas", {"plugin": "trading_execution"}, ["todos", "dinero"]),
        (ALTA, "x", "alertas", {"plugin": "trading_execution"}, ["todos"]),
        (ALTA, "x", "alertas", {"plugin": "apagado"}, ["todos"]),  # nobody is there: the default
        (ALTA, "x", "alertas", {"plugin": ["raro"], "user_id": None}, ["todos"]),
    ],
)
def test_the_first_route_that_fits_says_who_is_told(
    severity: Severity, rule: str, channel: str, data: dict[str, Any], told: list[str]
) -> None:
    router = check(configured(default=["todos"], routes=ROUTES)).router()
    machines = ["alert_data", "alert_data_stream"]
    assert list(router.targets(severity, rule, channel, data)) == ["log", *told, *machines]


@pytest.mark.parametrize(
    ("severity", "routing", "told"),
    [
        # The default is switched off, or the route is: everybody else.
        (CRITICA, {"default": ["sin_usar"]}, ["todos", "dinero", "de_ana"]),
        (
            ALTA,
            {"default": ["sin_usar"], "routes": [{"to": "sin_usar"}]},
            ["todos", "dinero", "de_ana"],
        ),
        (ALTA, {"default": "todos", "routes": [{"to": ["log", "sin_usar"]}]}, ["todos"]),
        # Too little for whom it goes to: if it is urgent, others hear of it; else it is meant so.
        (ALTA, {"default": "todos", "routes": [{"to": "solo_lo_peor"}]}, ["todos"]),
        (BAJA, {"default": "todos", "routes": [{"to": "solo_lo_peor"}]}, []),
        (ALTA, {"default": "solo_lo_peor"}, ["todos", "dinero", "de_ana"]),
        # The log alone is an answer.
        (CRITICA, {"default": "todos", "routes": [{"to": "log"}]}, []),
    ],
)
def test_what_nobody_would_hear_is_told_to_others(
    severity: Severity, routing: dict[str, Any], told: list[str]
) -> None:
    config = configured(**routing)
    config["notification_channels"].append("solo_lo_peor")
    config["notification_config"]["solo_lo_peor"] = {**WEBHOOK, "min_severity": "critica"}
    found = check(config).router().targets(severity, "x", "alertas", {})
    machines = ("log", "alert_data", "alert_data_stream")
    assert [name for name in found if name not in (*machines, "solo_lo_peor")] == told


def test_what_the_plugin_tells_of_itself_can_be_routed() -> None:
    router = check(configured(routes=[{"rules": "canal_caido", "to": "dinero"}])).router()
    assert "todos" not in router.targets(ALTA, "canal_caido", "alert_data", {})


async def test_what_waits_for_a_channel_that_is_switched_off_is_told_by_its_fallback(
    world: World,
) -> None:
    async with DiscordServer() as discord, SmtpServer() as smtp:
        tell(world, discord, smtp)
        world.config["alert_config"]["routing"] = {"default": ["discord"]}
        discord.always = BROKEN
        async with world.running():
            world.write("trading_results", to_json({"profit": -5000, "symbol": "BTC/USDT"}))
            await eventually(lambda: len(discord.requests) > 1)
        off = {"enabled": False, "fallback": "email"}
        world.config["notification_config"]["discord"] |= off
        async with world.running():
            await eventually(lambda: any("Pérdida" in m.mail["Subject"] for m in smtp.messages))


def test_a_fault_of_a_channel_is_no_other_one() -> None:
    config = configured()
    config["notification_config"]["dinero"] = {"type": "webhook", "url": "nada"}
    config["alert_config"]["escalation"] = [{"after": "10m", "channels": ["dinero"]}]
    with pytest.raises(ConfigError) as caught:
        check(config)
    assert [fault.path for fault in caught.value.faults] == ["notification_config.dinero.url"]


def test_without_routes_everybody_is_told() -> None:
    router = check(configured()).router()
    found = router.targets(ALTA, "x", "alertas", {})
    assert found == ("log", "todos", "dinero", "de_ana", "alert_data", "alert_data_stream")


@pytest.mark.parametrize(
    ("routing", "path", "said"),
    [
        ({"default": ["fax"]}, "alert_config.routing.default", "no existe 'fax'; se permite: log"),
        ({"routes": [{"to": ["fax"]}]}, "alert_config.routing.routes.0.to", "se permite: log"),
        (
            {"routes": [{"rules": ["no"], "to": ["log"]}]},
            "alert_config.routing.routes.0.rules",
            "no existe 'no'",
        ),
        (
            {"routes": [{"channels": ["no"], "to": ["log"]}]},
            "alert_config.routing.routes.0.channels",
            "no existe 'no'",
        ),
        ({"routes": [{"rules": []}]}, "alert_config.routing.routes.0.rules", "vacío"),
        ({"rutas": []}, "alert_config.routing.rutas", "se permite"),
    ],
)
def test_a_route_to_nowhere_is_refused(routing: dict[str, Any], path: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(configured(**routing))
    (fault,) = [fault for fault in caught.value.faults if fault.path == path]
    assert said in fault.text


async def test_people_are_told_as_routes_say(world: World) -> None:
    async with DiscordServer() as discord:
        tell(world, discord, None)
        config = world.config["notification_config"]
        config["de_ana"] = {"type": "discord", "webhook_url": discord.webhook_url}
        world.config["notification_channels"].append("de_ana")
        world.config["alert_config"]["routing"] = {
            "default": "discord",
            "routes": [{"users": "ana", "to": "de_ana"}],
        }
        async with world.running():
            for user in ("ana", "eva", "ana"):
                event = {"action": "withdraw", "amount": 900, "user_id": user, "n": user + "1"}
                world.write("capital_data", to_json(event))
            await eventually(lambda: statuses(world, "de_ana") == {"sent": 1})
            await eventually(lambda: statuses(world, "discord") == {"sent": 1})
            await eventually(lambda: statuses(world, "log") == {"sent": 2})
