"""The files of docker compose, read as data."""

from __future__ import annotations

import re
from typing import Any

import yaml

from tests.launcher.project import PROJECT

COMPOSE = PROJECT / "docker-compose.yml"
STANDBY = PROJECT / "docker-compose.standby.yml"
EXAMPLE = PROJECT / ".env.example"

SIBLINGS = (
    *("trading_db", "predictor_db", "monitor_db", "exchange_db", "macro_db"),
    *("execution_db", "capital_db", "user_db", "settlement_db"),
)
# What docker compose needs of the project, beside what a start without it needs.
FILES = (
    *("docker-compose.yml", "docker-compose.standby.yml", "Dockerfile"),
    *(".dockerignore", ".env.example", "deploy"),
)

_VARIABLE = re.compile(r"(?<!\$)\$\{([A-Z_]+)(:?[-?][^}]*)?\}")


def load() -> dict[str, Any]:
    """docker-compose.yml, its anchors resolved."""
    loaded = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
    assert isinstance(loaded, dict)
    return loaded


def variables_read() -> set[str]:
    """The names of the variables that the compose files take from .env."""
    found: set[str] = set()
    for path in (COMPOSE, STANDBY):
        text = path.read_text(encoding="utf-8")
        found |= {match[1] for match in _VARIABLE.finditer(text)}
        found |= {
            secret["environment"]
            for secret in (yaml.safe_load(text).get("secrets") or {}).values()
            if "environment" in secret
        }
    return found


def example() -> dict[str, str]:
    """The variables of .env.example with their values."""
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name: value for name, _, value in pairs}
