from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from src.core.plugin_manifest import PluginError, missing_dependencies, read_manifest

GOOD: dict[str, Any] = {
    "name": "p",
    "version": "1",
    "description": "d",
    "type": "t",
    "channels": ["a"],
    "dependencies": ["psycopg2-binary==2.9.9", "redis>=5"],
    "config_file": "configs/p.yaml",
    "main_class": "p.code.Plugin",
    "critical": True,
}


def _read(tmp_path: Path, content: object) -> Any:
    path = tmp_path / "plugin.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return read_manifest(path)


def test_a_good_one(tmp_path: Path) -> None:
    manifest = _read(tmp_path, {**GOOD, "author": "one key more does no harm"})
    assert manifest.channels == ("a",)
    assert manifest.critical is True
    assert manifest.config_file == "configs/p.yaml"
    assert missing_dependencies(manifest) == ()
    assert manifest.config_env == ""
    assert _read(tmp_path, {**GOOD, "config_file": None}).config_file == ""
    assert _read(tmp_path, {**GOOD, "config_env": "P_CONFIG"}).config_env == "P_CONFIG"


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('{"name": ', "no es JSON válido (línea 1, columna 10)"),
        ([1], "se encontró una lista; se espera un objeto"),
        ({k: v for k, v in GOOD.items() if k != "main_class"}, "falta 'main_class'"),
        ({**GOOD, "name": " "}, "'name': se encontró \" \"; se espera un texto"),
        ({**GOOD, "version": 1}, "'version': se encontró 1; se espera un texto"),
        ({**GOOD, "channels": "a"}, "'channels': se encontró \"a\"; se espera una lista de textos"),
        ({**GOOD, "dependencies": [1]}, "'dependencies': se encontró una lista; se espera una li"),
        ({**GOOD, "critical": "no"}, "'critical': se encontró \"no\"; se espera true o false"),
        ({**GOOD, "config_file": 5}, "'config_file': se encontró 5; se espera un texto o null"),
        ({**GOOD, "config_env": 5}, "'config_env': se encontró 5; se espera un texto o null"),
        ({**GOOD, "main_class": "Plugin"}, "'main_class': se encontró \"Plugin\"; se espera paq"),
        ({**GOOD, "main_class": "../x.Y"}, "se espera paquete.modulo.Clase"),
    ],
)
def test_faults_are_named(tmp_path: Path, content: object, expected: str) -> None:
    with pytest.raises(PluginError) as caught:
        _read(tmp_path, content)
    assert expected in str(caught.value)


def test_all_faults_at_once(tmp_path: Path) -> None:
    with pytest.raises(PluginError) as caught:
        _read(tmp_path, {})
    assert str(caught.value).count("falta") == 8


def test_missing_dependencies(tmp_path: Path) -> None:
    wanted = ["redis", "no-existe-xyz>=1", "==3"]
    manifest = _read(tmp_path, {**GOOD, "dependencies": wanted})
    assert missing_dependencies(manifest) == ("no-existe-xyz>=1", "==3")
