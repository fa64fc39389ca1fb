"""Rules, example configuration and dashboard under `deploy/`, as Prometheus sees them."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.plugins.conftest import PROJECT, World, eventually
from tests.plugins.scrapes import Samples, scrape
from tests.plugins.test_delivery import write_spec_events
from tests.support.promtool import PROMTOOL_ENV, PromtoolMissingError, find_promtool, run

DEPLOY = PROJECT / "deploy"
RULES = DEPLOY / "prometheus" / "alert_manager.rules.yml"
RULE_TESTS = RULES.with_name("alert_manager.rules.test.yml")
CONFIG = RULES.with_name("prometheus.yml")
DASHBOARD = DEPLOY / "grafana" / "alert_manager.json"
OF_PROMETHEUS = {"up", "ALERTS"}  # made by Prometheus itself
_WORDS = re.compile(r"\b(?:alert_manager|process)_\w+\b")


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    return list(dashboard["panels"])


def expressions() -> Iterator[tuple[str, str]]:
    """Panel and PromQL of each query of the dashboard, with Grafana's variables filled in."""
    for panel in panels():
        for target in panel.get("targets", []):
            expr = target["expr"]
            for variable, value in (
                ("$__rate_interval", "1m"),
                ("$__range", "6h"),
                ("$instance", ".*"),
            ):
                expr = expr.replace(variable, value)
            yield panel["title"], expr


@pytest.mark.long
def test_promtool_accepts_the_rules_and_their_tests_pass(promtool: Path) -> None:
    assert "SUCCESS" in run(promtool, "check", "rules", RULES)
    assert "SUCCESS" in run(promtool, "test", "rules", RULE_TESTS)


def test_promtool_accepts_the_example_configuration(promtool: Path, tmp_path: Path) -> None:
    assert "SUCCESS" in run(promtool, "check", "config", CONFIG)
    token = tmp_path / "token"
    token.write_text("abracadabra", encoding="utf-8")
    with_token = tmp_path / "prometheus.yml"
    with_token.write_text(authorised(token), encoding="utf-8")
    shutil.copy(RULES, tmp_path)
    assert "SUCCESS" in run(promtool, "check", "config", with_token)


def authorised(token: Path) -> str:
    """The example with the lines about a token in force, as the document has it."""
    text = CONFIG.read_text(encoding="utf-8")
    for line in ("authorization:", "  credentials_file: /etc/prometheus/corec_http_token"):
        assert text.count(f"    # {line}\n") == 1
        text = text.replace(f"    # {line}\n", f"    {line}\n")
    return text.replace("/etc/prometheus/corec_http_token", str(token))


@pytest.mark.parametrize("expr", ["vector(0) > 1", "vector(1)"], ids=["never", "always"])
@pytest.mark.long
def test_each_alert_is_held_by_the_tests_of_the_rules(
    promtool: Path, tmp_path: Path, expr: str
) -> None:
    """One that never fires, or always, is found."""
    content = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    for group in content["groups"]:
        for rule in group["rules"]:
            rule |= {"expr": expr, "for": "0s"}
    (tmp_path / RULES.name).write_text(yaml.safe_dump(content), encoding="utf-8")
    shutil.copy(RULE_TESTS, tmp_path)
    with pytest.raises(AssertionError, match="FAILED") as failed:
        run(promtool, "test", "rules", tmp_path / RULE_TESTS.name)
    missed = [rule["alert"] for rule in alerts() if rule["alert"] not in str(failed.value)]
    assert missed == []


def test_each_alert_says_what_happened_and_what_to_do() -> None:
    for rule in alerts():
        assert rule["labels"]["severity"] in ("critical", "warning"), rule["alert"]
        assert rule["annotations"].keys() == {"summary", "description"}, rule["alert"]


def test_promtool_accepts_every_query_of_the_dashboard(promtool: Path, tmp_path: Path) -> None:
    rules = [
        {"record": f"panel:query:n{n}", "expr": expr} for n, (_, expr) in enumerate(expressions())
    ]
    assert len(rules) > 20
    path = tmp_path / "dashboard.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "d", "rules": rules}]}), encoding="utf-8")
    run(promtool, "check", "rules", path)
    left = [expr for _, expr in expressions() if "$" in expr]
    assert left == []


def test_the_dashboard_asks_the_data_source_that_its_reader_chooses() -> None:
    dashboard = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    variables = {variable["name"]: variable for variable in dashboard["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert variables["datasource"]["query"] == "prometheus"
    wanted = {"type": "prometheus", "uid": "${datasource}"}
    assert variables["instance"]["datasource"] == wanted
    for panel in dashboard["panels"]:
        if panel["type"] == "row":
            continue
        assert panel["datasource"] == wanted, panel["title"]
        assert all(target["datasource"] == wanted for target in panel["targets"]), panel["title"]
        assert panel["description"], panel["title"]


def test_no_panel_lies_on_another() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in panels():
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                assert (x, y) not in taken, (panel["title"], taken.get((x, y)))
                taken[x, y] = panel["title"]
    ids = [panel["id"] for panel in panels()]
    assert len(ids) == len(set(ids))


def test_grafana_finds_the_dashboard_by_itself() -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    read = {
        path.parent.name: yaml.safe_load(path.read_text("utf-8"))
        for path in provisioning.glob("*/*.yml")
    }
    assert read["datasources"]["datasources"][0]["type"] == "prometheus"
    [provider] = read["dashboards"]["providers"]
    assert provider["type"] == "file"
    assert provider["options"]["path"]


async def test_every_metric_of_dashboard_and_rules_comes_out_of_a_running_processor(
    world: World,
) -> None:
    async with world.running() as processor:
        write_spec_events(world)
        samples = await whole(processor)
    there = samples.names() | OF_PROMETHEUS
    for title, expr in (*expressions(), *((rule["alert"], rule["expr"]) for rule in alerts())):
        used = set(_WORDS.findall(expr))
        assert used <= there, (title, used - there)
        assert used or "up{" in expr, title


async def whole(processor: Any) -> Samples:
    """A scrape after the first look at the queue."""
    async with asyncio.timeout(20):
        while True:
            samples = await scrape(processor)
            if samples.of("notifications_pending"):
                return samples
            await asyncio.sleep(0.05)


@asynccontextmanager
async def prometheus(program: Path, folder: Path) -> AsyncIterator[str]:
    """A Prometheus on a port of its own; its address."""
    log = folder / "log"
    with log.open("w", encoding="utf-8") as out:
        process = await asyncio.create_subprocess_exec(
            program,
            f"--config.file={folder / 'prometheus.yml'}",
            f"--storage.tsdb.path={folder / 'data'}",
            "--web.listen-address=127.0.0.1:0",
            stdout=out,
            stderr=out,
        )

    def ready() -> str | None:
        text = log.read_text(encoding="utf-8")
        assert process.returncode is None, text
        found = re.search(r'"Listening on".* address=127\.0\.0\.1:(\d+)', text)
        # Its API is refused until what it stored is loaded.
        if found is None or "Server is ready to receive web requests" not in text:
            return None
        return f"http://127.0.0.1:{found[1]}"

    try:
        yield await eventually(ready)
    finally:
        if process.returncode is None:
            process.terminate()
            try:
                await asyncio.wait_for(process.wait(), 20)
            except TimeoutError:
                process.kill()
                await process.wait()


async def test_a_real_prometheus_scrapes_it_with_the_token_and_understands_the_rules(
    world: World, promtool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beside = shutil.which("prometheus", path=promtool.parent) or shutil.which("prometheus")
    assert beside is not None, "prometheus is needed beside promtool: sudo apt install prometheus"
    monkeypatch.setenv("COREC_HTTP_TOKEN", "abracadabra")
    token = tmp_path / "token"
    token.write_text("abracadabra", encoding="utf-8")
    shutil.copy(RULES, tmp_path)
    async with world.running() as processor:
        text = authorised(token).replace("127.0.0.1:8000", f"127.0.0.1:{processor.puerto}")
        text = text.replace("_interval: 15s", "_interval: 1s")
        (tmp_path / "prometheus.yml").write_text(text, encoding="utf-8")
        async with prometheus(Path(beside), tmp_path) as address:

            def get(path: str) -> Any:
                with urllib.request.urlopen(f"{address}/api/v1/{path}", timeout=5) as answer:
                    return json.load(answer)["data"]

            def rules() -> list[dict[str, Any]]:
                return [rule for group in get("rules")["groups"] for rule in group["rules"]]

            def targets() -> list[str]:
                return [target["health"] for target in get("targets")["activeTargets"]]

            await eventually(lambda: targets() == ["up"])
            await eventually(lambda: "unknown" not in {rule["health"] for rule in rules()})
            seen = [(rule["name"], rule["health"]) for rule in rules()]
            assert seen == [(rule["alert"], "ok") for rule in alerts()]
            await eventually(lambda: {rule["state"] for rule in rules()} == {"inactive"})
            [build] = get("query?query=alert_manager_build_info")["result"]
            assert build["metric"]["job"] == "alert_manager"
            for _, expr in expressions():  # some faults show only where there are series
                path = f"query?{urllib.parse.urlencode({'query': expr})}"
                # Where nothing happened, what shows only that is empty.
                await eventually(lambda p=path, e=expr: get(p)["result"] or ") > 0" in e)  # type: ignore[misc]


def test_without_promtool_the_sentence_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(PROMTOOL_ENV, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))  # neither promtool nor apt-get
    with pytest.raises(PromtoolMissingError, match="sudo apt install prometheus"):
        find_promtool(tmp_path / "cache")
    monkeypatch.setenv(PROMTOOL_ENV, "/nada/promtool")
    with pytest.raises(PromtoolMissingError, match="/nada/promtool"):
        find_promtool(tmp_path / "cache")
