"""Every command speaks JSON to programs, and check-config does too where the file is bad."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from src.plugins.alert_manager.cli.main import main
from tests.plugins.conftest import SHIPPED_CONFIG


def leaves(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    if isinstance(command, click.Group):
        for part, one in command.commands.items():
            yield from leaves(one, f"{name} {part}")
    else:
        yield name, command


@pytest.mark.parametrize(("name", "command"), [*leaves(main, "alerts.sh")])
def test_every_command_has_json(name: str, command: click.Command) -> None:
    assert any("--json" in option.opts for option in command.params), name


def test_a_file_is_checked_for_programs(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["check-config", "--json", str(SHIPPED_CONFIG)])
    found = json.loads(done.stdout)
    assert (done.exit_code, found["valid"], found["faults"]) == (0, True, [])
    assert "perdida" in found["rules"]
    assert found["tells"]
    bad = tmp_path / "malo.yaml"
    bad.write_text("alert_config: {timezone: Marte/Base}\n", encoding="utf-8")
    done = CliRunner().invoke(main, ["check-config", "--json", str(bad)])
    found = json.loads(done.stdout)
    assert (done.exit_code, found["valid"]) == (1, False)
    assert any("timezone" in one for one in found["faults"])
