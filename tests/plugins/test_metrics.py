"""`/metrics`: what it counts, that its labels are bounded, and that nothing keeps it waiting."""

from __future__ import annotations

import asyncio
import inspect
import re
import time
from dataclasses import replace
from pathlib import Path

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families
from psycopg2.extensions import make_dsn

from src.core.event import Event
from src.plugins.alert_manager import observer, own_alerts
from src.plugins.alert_manager.domain.troubles import TROUBLES
from src.plugins.alert_manager.metrics import Expected, Metrics
from src.plugins.alert_manager.processors.alert_processor import AlertProcessor
from tests.plugins.conftest import PROJECT, Streams, World
from tests.plugins.scrapes import Samples, read, scrape
from tests.plugins.test_delivery import tell, write_spec_events
from tests.support.discord import GONE, DiscordServer
from tests.support.promtool import run
from tests.support.proxy import postgres_proxy
from tests.support.smtp import SmtpServer

DOCS = [PROJECT / "docs" / name for name in ("metrics.md", "metrics.en.md")]


async def until(processor: AlertProcessor, name: str, value: float, **labels: str) -> Samples:
    """Waits until a sample has a value; returns the whole scrape."""
    async with asyncio.timeout(20):
        while True:
            samples = await scrape(processor)
            if samples.value(name, **labels) == value:
                return samples
            await asyncio.sleep(0.05)


async def test_events_are_counted_by_channel_and_outcome(world: World, streams: Streams) -> None:
    async with world.running() as processor:
        write_spec_events(world)
        world.write(
            "alertas", b'{"tipo": "circuit_breaker_tripped", "plugin": "trading_execution"}'
        )
        world.write("macro_data", b'{"vix_price": 12}')
        world.write("capital_data", b"\x00no es nada")
        world.write("de_otro", b"{}")
        world.write("alert_data", b'{"action": "update_threshold", "vix_threshold": 25}')
        world.write("macro_data", b'{"vix_price": 24}')  # below what the command has set
        streams.add("user_data", b'{"action": "delete", "user_id": "u"}')
        await processor.manejar_evento(Event("alertas", {"tipo": "t", "plugin": "p"}, "x"))
        samples = await until(processor, "events_total", 1, channel="user_data", outcome="alert")
        samples = await until(processor, "events_total", 2, channel="alertas", outcome="alert")
        samples = await until(processor, "events_total", 2, channel="macro_data", outcome="nothing")

    def outcomes(channel: str) -> dict[str, float]:
        found = samples.of("events_total", channel=channel)
        return {labels["outcome"]: value for labels, value in found if value}

    assert outcomes("alertas") == {"alert": 2, "repeat": 1}  # one of them was pushed
    assert outcomes("capital_data") == {"alert": 1, "dead_letter": 1}
    assert outcomes("macro_data") == {"alert": 1, "nothing": 2}
    assert outcomes("alert_data")["command"] == 1
    assert outcomes("other") == {"ignored": 1}
    assert samples.value("dead_letters_total", source="eventos") == 1
    assert samples.value("duplicates_total", rule="circuit_breaker") == 1
    assert samples.value("alerts_total", rule="vix", severity="alta") == 1
    assert samples.value("source_events_total", source="push") == 1
    assert samples.value("source_events_total", source="streams") >= 1
    assert samples.value("batch_seconds_count", source="eventos") >= 1


@pytest.mark.long
async def test_no_event_makes_a_label(world: World) -> None:
    async with world.running() as processor:
        await until(processor, "part_up", 1, part="corec_db")
        await until(processor, "notifications_pending", 0, channel="log", severity="alta")
        before = (await scrape(processor)).names_and_labels()
        for n in range(300):
            world.write(f"canal_{n}", b"{}")
            world.write("alertas", b'{"tipo": "t%d", "plugin": "p%d", "rule": "r%d"}' % (n, n, n))
            world.write("trading_results", b'{"profit": -500, "symbol": "S%d"}' % n)
        samples = await until(
            processor, "events_total", 300, channel="trading_results", outcome="alert"
        )
    assert samples.names_and_labels() == before
    assert samples.value("events_total", channel="other", outcome="ignored") == 300


async def test_notifications_are_counted_by_channel_and_result(world: World) -> None:
    async with DiscordServer() as discord, SmtpServer() as smtp:
        tell(world, discord, smtp)
        discord.always = GONE
        async with world.running() as processor:
            began = time.time()
            write_spec_events(world)
            # The five, and that Discord is gone.
            await until(processor, "notifications_total", 6, channel="email", result="sent")
            samples = await until(processor, "channel_disabled", 1, channel="discord")
            assert samples.value("notifications_total", channel="discord", result="sent") == 0
            assert samples.value("breaker_state", channel="email", state="closed") == 1
            took = samples.value("event_to_notification_seconds_sum", channel="email")
            count = samples.value("event_to_notification_seconds_count", channel="email")
            assert count == 6
            assert 0 < took < count * (time.time() - began)
            assert samples.value("event_to_alert_seconds_count") == 5


async def test_what_waits_is_counted_now_and_then(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observer, "INTERVAL", 0.1)
    async with DiscordServer() as discord:
        tell(world, discord, None)
        discord.always = GONE
        async with world.running() as processor:
            write_spec_events(world)
            pending = {"channel": "discord", "severity": "critica"}
            samples = await until(processor, "notifications_pending", 1, **pending)
            assert samples.value("notifications_oldest_pending_seconds", **pending) < 20
            world.alert("UPDATE notifications SET channel = 'retirado' WHERE channel = 'discord'")
            pending["channel"] = "other"
            await until(processor, "notifications_pending", 1, **pending)


async def test_a_scrape_waits_for_no_database(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(observer, "INTERVAL", 0.1)
    with postgres_proxy(world.alert_dsn) as (cut, parameters):
        behind = replace(world, alert_dsn=make_dsn(**parameters))
        async with behind.running() as processor:
            await until(processor, "part_up", 1, part="alert_db")
            cut.freeze()
            samples, slowest = await scrape(processor), 0.0
            while samples.value("part_up", part="alert_db"):
                began = time.monotonic()
                samples = await scrape(processor)
                slowest = max(slowest, time.monotonic() - began)
                await asyncio.sleep(0.05)
            assert slowest < 1.0
            assert (await scrape(processor)).value("reader_lag_seconds", source="streams") >= 0


async def test_what_was_seen_too_long_ago_is_not_shown(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world.running() as processor:
        await until(processor, "notifications_pending", 0, channel="log", severity="alta")
        monkeypatch.setattr(observer, "_STALE", 0.0)
        samples = await scrape(processor)
    assert samples.of("part_up") == samples.of("notifications_pending") == []


async def test_where_reading_stands_is_shown_also_while_nothing_comes(world: World) -> None:
    async with world.running() as processor:
        ((hole,),) = world.corec("SELECT nextval('eventos_id_seq')")
        newest = world.write("macro_data", b'{"vix_price": 12}')
        await until(processor, "reader_position", newest)
        samples = await until(processor, "reader_retired_holes", 1)  # by looks that found nothing
        assert samples.value("reader_open_holes") == 0
        assert samples.value("reader_leading", source="eventos") == 1
        assert hole < newest
    async with world.running("corec1"), world.running("corec2") as standby:
        samples = await scrape(standby)
        assert samples.value("reader_leading", source="eventos") == 0
        assert samples.value("reader_lag_seconds", source="eventos") == 0
        assert samples.of("reader_position") == []


async def test_a_refused_configuration_is_shown(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "alertas.yaml"
    file.write_text("alert_config: [", encoding="utf-8")
    async with world.running() as processor:
        assert (await scrape(processor)).value("config_last_reload_successful") == 1
        await processor._reload(file)
        samples = await scrape(processor)
        assert samples.value("config_last_reload_successful") == 0
        assert samples.value("config_last_reload_success_timestamp_seconds") > time.time() - 60


async def test_promtool_accepts_the_exposition_and_every_metric_has_a_help_text(
    world: World, promtool: Path
) -> None:
    async with world.running() as processor, aiohttp.ClientSession() as client:
        write_spec_events(world)
        await until(processor, "notifications_total", 5, channel="log", result="sent")
        await until(processor, "notifications_pending", 0, channel="log", severity="alta")
        url = f"http://127.0.0.1:{processor.puerto}/metrics"
        async with client.get(url) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            text = await answer.text()
    run(promtool, "check", "metrics", stdin=text.encode())
    for family in text_string_to_metric_families(text):
        assert len(family.documentation) > 5, family.name
        assert family.type in ("counter", "gauge", "histogram"), family.name
    assert not [line for line in text.splitlines() if "_created" in line]


def test_promtool_finds_what_is_wrong(promtool: Path) -> None:
    """Or the test above could not fail."""
    with pytest.raises(AssertionError, match="no help text"):
        run(promtool, "check", "metrics", stdin=b"alert_manager_x_total 1\n")


def documented(page: Path) -> set[tuple[str, str, tuple[str, ...]]]:
    """Name, type and labels of each metric in the table of a document."""
    text = page.read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| (counter|gauge|histogram) \| ([^|]*)\|", text, re.MULTILINE)
    return {(name, kind, tuple(sorted(re.findall(r"`(\w+)`", of)))) for name, kind, of in rows}


@pytest.mark.parametrize("page", DOCS, ids=lambda path: path.name)
async def test_the_documents_list_every_metric_with_its_labels(world: World, page: Path) -> None:
    listed = documented(page)
    async with world.running() as processor:
        await until(processor, "notifications_pending", 0, channel="log", severity="alta")
        samples = await until(processor, "reader_position", 0)
    assert listed == samples.families()


def test_the_names_of_our_own_alerts_are_known() -> None:
    source = inspect.getsource(own_alerts.OwnAlerts)
    told = set(re.findall(r'_candidate\(\s*"(\w+)"', source))
    assert told == own_alerts.OWN_RULES.keys() == TROUBLES


def test_a_rule_that_the_configuration_does_not_have_is_other() -> None:
    metrics = Metrics()
    metrics.expect(Expected(rules={"vix": ()}))
    assert metrics._rule("vix") == "vix"
    assert metrics._rule("inventada") == "other"


def test_a_scrape_costs_little(world: World) -> None:
    metrics = Metrics("1")
    rules = {f"regla_{n}": own_alerts.OWN_RULES["eventos_antiguos"] for n in range(100)}
    names = [f"canal_{n}" for n in range(20)]
    metrics.expect(Expected(names, rules, (), names, ("eventos", "streams")))
    began = time.process_time()
    for _ in range(5):
        text = metrics.text()
    assert (time.process_time() - began) / 5 < 0.1  # of a much larger installation than ours
    assert len(read(text.decode()).names_and_labels()) > 1000
