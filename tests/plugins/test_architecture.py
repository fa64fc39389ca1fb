"""The rules of the house: who may import whom, how long a file may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plugins.conftest import PROJECT

PLUGIN = PROJECT / "src" / "plugins" / "alert_manager"
PACKAGE = "src.plugins.alert_manager"
MAX_LINES = 310
MAX_TEST_LINES = 400  # a table of cases is one subject, however long
# Pure libraries only: nothing that talks, waits, reads a clock or draws a random number.
DOMAIN_MAY_USE = {
    "__future__", "array", "base64", "binascii", "bisect", "collections", "dataclasses", "datetime",
    "decimal", "enum", "functools", "hashlib", "html", "itertools", "json", "math", "operator",
    "re", "string", "typing", "unicodedata", "urllib", "zlib", "zoneinfo", "babel", "re2", "jinja2",
    "msgspec", "zstandard", "pydantic",
}  # fmt: skip
# Part of the plugin -> parts that it may not know.
READING = {"pipeline", "place", "recorder", "read_loop"}
OUTSIDE = {"utils", "processors", "web", "cli"}
FORBIDDEN = {
    "domain": OUTSIDE | READING | {"judge", "settings", "ports"},
    "judge": OUTSIDE | READING,
    "candidates": OUTSIDE | READING | {"judge", "memory"},
    "memory": OUTSIDE | READING | {"judge"},
    "replay": OUTSIDE | READING,
    "letters": OUTSIDE | READING | {"judge", "memory", "candidates"},
    "absences": OUTSIDE | {"pipeline", "read_loop"},
    "ports": OUTSIDE | READING,
    "own_alerts": OUTSIDE | READING,
    "old_events": OUTSIDE | READING,
    "place": OUTSIDE | READING,
    "recorder": OUTSIDE | READING,
    "pipeline": OUTSIDE | {"read_loop"},
    "read_loop": OUTSIDE,
    "health": OUTSIDE,
    "silencer": OUTSIDE | READING,
    "retention": OUTSIDE | READING,
    "retention_settings": OUTSIDE | READING,
    "self_watch": OUTSIDE | READING,
    "foresight": OUTSIDE | (READING - {"recorder"}),
    "look_ahead": OUTSIDE | {"read_loop"},
    "degraded": OUTSIDE | {"read_loop"},
    "untold": OUTSIDE | READING,
    "recent": OUTSIDE | READING,
    "utils": (OUTSIDE | READING) - {"utils"},
    "web": {"utils", "processors", "cli"} | READING,
}


def _modules(file: Path) -> Iterator[str]:
    """Absolute names of what a file imports."""
    package = ".".join([PACKAGE, *file.relative_to(PLUGIN).parent.parts])
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = package.split(".")[: len(package.split(".")) - node.level + 1]
            prefix = ".".join(parents) if node.level else ""
            yield ".".join(part for part in (prefix, node.module) if part)


FILES = sorted(PLUGIN.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PLUGIN)))
def test_no_file_imports_what_it_may_not_know(file: Path) -> None:
    part = file.relative_to(PLUGIN).parts[0].removesuffix(".py")
    for name in _modules(file):
        if name.startswith(f"{PACKAGE}."):
            known = name.removeprefix(f"{PACKAGE}.").split(".")[0]
            assert known not in FORBIDDEN.get(part, set()), f"{file.name} imports {name}"
        elif part == "domain":
            assert name.split(".")[0] in DOMAIN_MAY_USE, f"{file.name} imports {name}"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PLUGIN)))
def test_the_plugin_uses_of_corec_only_the_contract(file: Path) -> None:
    """The folder alone, in another CoreC v4 tree, must work there."""
    allowed = {"src.core.event", "src.core.processors.base", "src.plugins.plugin_manager"}
    for name in _modules(file):
        if name.startswith("src.") and not name.startswith(PACKAGE):
            assert name in allowed, f"{file.name} imports {name}"


@pytest.mark.parametrize(
    "file",
    [f for f in PROJECT.glob("**/*.py") if not {".venv", ".venv-spec", "build"} & set(f.parts)],
    ids=lambda f: str(f.relative_to(PROJECT)),
)
def test_a_file_has_one_subject_and_so_a_bounded_length(file: Path) -> None:
    is_test = "tests" in file.relative_to(PROJECT).parts
    length = len(file.read_text(encoding="utf-8").splitlines())
    assert length <= (MAX_TEST_LINES if is_test else MAX_LINES)
