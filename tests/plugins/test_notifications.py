"""What is kept of every attempt to tell somebody, and the commands about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from src.plugins.alert_manager.cli.main import main
from src.plugins.alert_manager.domain.delivery import Attempt, Disabled, Rejected, Retry, Sent
from tests.plugins.conftest import SCHEMA, World, eventually, show_to_commands
from tests.plugins.test_alert_manager import SPEC_EVENTS
from tests.plugins.test_delivery import statuses, tell
from tests.plugins.test_delivery_faults import alert_db, delivering, queue, webhook
from tests.support.discord import BROKEN, TOKEN, Answer, DiscordServer, limited

__all__ = ["alert_db"]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def said(*arguments: str) -> Any:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize(
    ("outcome", "kept"),
    [
        (Sent("7"), ("sent", None)),
        (Sent("7", refused="no a eva"), ("sent", "no a eva")),
        (Sent(answer="200 ok"), ("sent", "200 ok")),
        (Retry("502"), ("retry", "502")),
        (Retry("429", after=1.0, throttled=True), ("throttled", "429")),
        (Rejected("400"), ("rejected", "400")),
        (Disabled("404"), ("disabled", "404")),
    ],
)
def test_what_is_kept_of_an_outcome(outcome: Any, kept: tuple[str, str | None]) -> None:
    assert Attempt.of(outcome, 0.5) == Attempt(kept[0], 0.5, kept[1])


async def test_every_attempt_leaves_a_record(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with DiscordServer() as discord:
        tell(world, discord, None)
        discord.script.extend([BROKEN, limited(0.2), Answer(200, {"id": "77"}, delay=0.3)])
        async with world.running():
            world.write(*SPEC_EVENTS[0][:2])
            await eventually(lambda: statuses(world, "discord") == {"sent": 1})
    rows = world.alert(
        "SELECT d.attempt, d.status, d.answer, d.external_id, d.seconds > 0.25"
        " FROM deliveries AS d JOIN notifications AS n ON n.id = notification_id"
        " WHERE channel = 'discord' ORDER BY d.id"
    )
    assert rows == [
        (1, "retry", "Discord respondió 502", None, False),
        (2, "throttled", "Discord pide esperar 0.2 s (límite de envíos)", None, False),
        (2, "sent", None, "77", True),
    ]
    others = "SELECT count(*) FROM deliveries WHERE status = 'sent' AND attempt = 1"
    assert world.alert(others) == [(3,)]  # the log, and both reports
    show_to_commands(world, monkeypatch, tmp_path)
    shown = run("show", "1").output
    assert "se reintenta en 0.0 s: Discord respondió 502" in shown
    assert "enviado en 0.3 s: 77" in shown
    (note,) = [n for n in said("show", "1")["notifications"] if n["channel"] == "discord"]
    assert [d["status"] for d in note["deliveries"]] == ["retry", "throttled", "sent"]


async def test_what_was_given_up_is_sent_again_on_demand(
    alert_db: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    show_to_commands(alert_db, monkeypatch, tmp_path)
    for number in range(3):
        queue(alert_db, "discord", f"m{number}", age="2 days")
    queue(alert_db, "discord", "nueva")
    async with DiscordServer() as discord:
        discord.refuses = "nueva"
        async with delivering(alert_db, webhook(discord)):
            await eventually(lambda: statuses(alert_db, "discord") == {"dead": 4})
            assert discord.embeds == []
            dead = said("notifications", "list", "--status", "dead")
            assert [row["title"] for row in dead] == [None] * 4
            assert "caducada" in run("notifications", "list", "--channel", "discord").output
            ids = sorted(row["id"] for row in dead)
            result = run("notifications", "retry", str(ids[0]), str(ids[1]), "999")
            assert result.exit_code == 1  # of one of them nothing is known
            assert result.stdout == "".join(f"Aviso {i}: se envía otra vez.\n" for i in ids[:2])
            assert "el canal discord no está activado" in result.stderr  # as far as is seen here
            assert "Aviso 999: no existe" in result.stderr
            await eventually(lambda: statuses(alert_db, "discord") == {"dead": 2, "sent": 2})
            discord.refuses = None
            assert run("notifications", "retry", "--all", "--channel", "email").exit_code == 1
            assert run("notifications", "retry", "--all").stdout == "2 avisos se envían otra vez.\n"
            await eventually(lambda: statuses(alert_db, "discord") == {"sent": 4})
    assert sorted(e["description"] for e in discord.embeds) == ["m0", "m1", "m2", "nueva"]


@pytest.mark.parametrize("arguments", [(), ("1", "--all")])
def test_what_is_to_be_sent_again_has_to_be_said(arguments: tuple[str, ...]) -> None:
    result = run("notifications", "retry", *arguments)
    assert result.exit_code == 2
    assert "o bien --all" in result.output


async def test_a_channel_can_be_tried(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with DiscordServer() as discord:
        tell(world, discord, None)
        show_to_commands(world, monkeypatch, tmp_path)
        found = await eventually(lambda: said("test-notify", "discord"))
        assert found["status"] == "sent"
        assert found["external_id"] == discord.messages[0]["id"]
        (embed,) = discord.embeds
        assert "PRUEBA de CoreC" in embed["title"]
        assert "no hay que hacer nada" in embed["description"]
        discord.always = Answer(401, {"message": f"Invalid {TOKEN}"})
        failed = await eventually(lambda: run("test-notify", "discord"))
        assert failed.exit_code == 1
        assert "discord: no se pudo enviar" in failed.output
        assert "401" in failed.output
        assert TOKEN not in failed.output
        assert len(discord.requests) == 2
    assert (
        world.alert("SELECT 1 WHERE to_regclass('alerts') IS NOT NULL") == []
    )  # nothing is stored


async def test_programs_know_a_try_from_an_alert(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with DiscordServer() as server:
        server.always = Answer(200, {})
        world.config["notification_channels"].append("casa")
        world.config["notification_config"]["casa"] = {
            "type": "webhook",
            "url": server.webhook_url,
        }
        show_to_commands(world, monkeypatch, tmp_path)
        for _ in range(2):
            await eventually(lambda: said("test-notify", "casa"))
    (first,), (second,) = (request.payload["alerts"] for request in server.requests)
    assert (first["id"], first["kind"]) == (None, "test")
    assert first["number"] != second["number"]
    ids = [request.headers["webhook-id"] for request in server.requests]
    assert ids[0] != ids[1]  # or receivers would take the second for the first


def test_only_a_channel_in_use_can_be_tried(
    world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    show_to_commands(world, monkeypatch, tmp_path)
    result = run("test-notify", "discord")
    assert result.exit_code == 1
    assert "se puede probar: log." in result.output
    assert run("test-notify", "log").exit_code == 0


def test_the_schema_of_before_gets_what_is_new(alert_db: World) -> None:
    alert_db.alert("DROP TABLE deliveries")
    alert_db.alert("ALTER TABLE notifications DROP COLUMN queued_at")
    alert_db.alert("COMMENT ON TABLE alerts IS 'alert_manager: 6'")
    queue_of_before = (
        "WITH a AS (INSERT INTO alerts (severity, message, channel, timestamp)"
        " VALUES ('alta', 'm', 'c', 1) RETURNING id)"
        " INSERT INTO notifications (alert_id, channel, severity) SELECT id, 'log', 3 FROM a"
    )
    alert_db.alert(queue_of_before)
    alert_db.alert(SCHEMA.read_text(encoding="utf-8"))
    ((age,),) = alert_db.alert("SELECT extract(epoch FROM now() - queued_at) FROM notifications")
    assert age < 60
    assert alert_db.alert("SELECT count(*) FROM deliveries") == [(0,)]
