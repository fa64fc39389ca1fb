"""A newcomer's first ten minutes: an empty folder, the two commands, the spec's own INSERTs."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.launcher.project import Project, copy_project
from tests.support.servers import guarded_directory

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]

START_FRESH_SECONDS = 90
START_AGAIN_SECONDS = 5

# From the specification, from `-c` on, with its inner shell quoting left as it is printed there.
SPEC = r"""
# Alerta crítica
./scripts/psql.sh corec_db -c "INSERT INTO eventos (canal, datos, timestamp, instance_id) VALUES ('alertas', '{\"data\": \"$(echo '{\"tipo\": \"circuit_breaker_tripped\", \"plugin\": \"trading_execution\"}' | gzip | base64)\"}', EXTRACT(EPOCH FROM NOW()), 'corec1');"

# trading_results
./scripts/psql.sh corec_db -c "INSERT INTO eventos (canal, datos, timestamp, instance_id) VALUES ('trading_results', '{\"data\": \"$(echo '{\"profit\": -150.0, \"symbol\": \"BTC/USDT\", \"exchange\": \"binance\", \"user_id\": \"user1\"}' | gzip | base64)\"}', EXTRACT(EPOCH FROM NOW()), 'corec1');"

# capital_data
./scripts/psql.sh corec_db -c "INSERT INTO eventos (canal, datos, timestamp, instance_id) VALUES ('capital_data', '{\"data\": \"$(echo '{\"user_id\": \"user1\", \"action\": \"withdraw\", \"amount\": 600.0}' | gzip | base64)\"}', EXTRACT(EPOCH FROM NOW()), 'corec1');"

# macro_data
./scripts/psql.sh corec_db -c "INSERT INTO eventos (canal, datos, timestamp, instance_id) VALUES ('macro_data', '{\"sp500_price\": 4500.0, \"vix_price\": 22.0}', EXTRACT(EPOCH FROM NOW()), 'corec1');"

# settlement_data
./scripts/psql.sh corec_db -c "INSERT INTO eventos (canal, datos, timestamp, instance_id) VALUES ('settlement_data', '{\"data\": \"$(echo '{\"roi_percent\": -6.0}' | gzip | base64)\"}', EXTRACT(EPOCH FROM NOW()), 'corec1');"
"""  # noqa: E501
SEVERITIES = ["critica", "alta", "alta", "alta", "alta"]


@pytest.fixture(scope="module")
def fresh() -> Iterator[Project]:
    """The project in an empty folder, installed and started by start.sh alone."""
    with guarded_directory() as root:
        folder = copy_project(root / "corec", venv=False)
        project = Project(root / "h", folder)
        started = time.monotonic()
        try:
            project.run("start.sh")
            assert time.monotonic() - started < START_FRESH_SECONDS
            yield project
        finally:
            project.run("stop.sh")
            assert project.living() == []


def alerts(project: Project, seconds: float, count: int) -> list[dict[str, object]]:
    """The alerts, the oldest first, as soon as there are `count` of them."""
    deadline = time.monotonic() + seconds
    while True:
        found = json.loads(project.run("alerts.sh", "list", "--json"))
        if len(found) >= count or time.monotonic() > deadline:
            assert len(found) == count
            return list(reversed(found))


def test_the_specs_five_inserts_become_five_alerts_within_two_seconds(fresh: Project) -> None:
    script = fresh.folder / "spec.sh"
    script.write_text(f"set -e\ncd {str(fresh.folder)!r}\n{SPEC}", encoding="utf-8")
    fresh_project = Project(fresh.home, fresh.folder, prefix=("bash", str(script)))
    fresh_project.run("psql.sh")
    last_insert = time.monotonic()
    rows = "SELECT string_agg(severity, ',' ORDER BY id) FROM alerts"
    while fresh.sql("alert_db", rows) != ",".join(SEVERITIES):
        assert time.monotonic() - last_insert < 2.0
    found = alerts(fresh, 0, 5)
    assert [alert["severity"] for alert in found] == SEVERITIES
    assert "$150.00" in str(found[1]["message"])
    log = (fresh.home / "logs" / "corec1.log").read_text(encoding="utf-8")
    assert sum(" ALERTA " in line for line in log.splitlines()) == 5


def test_simulate_again_only_counts(fresh: Project) -> None:
    fresh.run("simulate.sh")
    deadline = time.monotonic() + 10
    while (seen := [a["occurrences"] for a in alerts(fresh, 0, 5)]) != [2] * 5:
        assert time.monotonic() < deadline, seen


def test_a_stop_and_a_quick_start_forget_and_repeat_nothing(fresh: Project) -> None:
    fresh.run("stop.sh")
    assert fresh.living() == []
    started = time.monotonic()
    fresh.run("start.sh")
    assert time.monotonic() - started < START_AGAIN_SECONDS
    assert [a["occurrences"] for a in alerts(fresh, 0, 5)] == [2] * 5
    sent = "SELECT count(*), count(DISTINCT (alert_id, channel)) FROM notifications"
    assert fresh.sql("alert_db", sent) == "15|15"
    log = (fresh.home / "logs" / "corec1.log").read_text(encoding="utf-8")
    assert sum(" ALERTA " in line for line in log.splitlines()) == 5


def test_the_readmes_insert_by_hand_works_as_printed(fresh: Project) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    [line] = [
        line for line in readme.splitlines() if line.startswith("./scripts/psql.sh corec_db -c")
    ]
    script = fresh.folder / "readme.sh"
    script.write_text(f"set -e\ncd {str(fresh.folder)!r}\n{line}\n", encoding="utf-8")
    Project(fresh.home, fresh.folder, prefix=("bash", str(script))).run("psql.sh")
    assert alerts(fresh, 10, 6)[-1]["severity"] == "critica"
