from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from src.plugins.plugin_manager import PluginManager
from tests.core.helpers import GOOD_PLUGIN, PluginFolder, until


def _manager(folder: PluginFolder, **more: Any) -> PluginManager:
    return PluginManager(folder.path, init_seconds=0.3, stop_seconds=0.3, **more)


async def test_builds_and_initialises(plugin_folder: PluginFolder) -> None:
    text = "a: ${NO_TOCAR:-x}\nb: [1, 2]\n"
    plugin_folder.add("uno", GOOD_PLUGIN, config=text, channels=["c1", "c2"], critical=True)
    plugin_folder.add("dos", GOOD_PLUGIN, channels=["c2", "c3"])
    redis, db = object(), {"dbname": "x"}
    manager = _manager(plugin_folder, redis_client=redis, db_config=db)
    await manager.load(None)
    assert manager.fallos == {}
    assert list(manager.plugins) == ["dos", "uno"]
    plugin = manager.plugins["uno"].instance
    calls = plugin.calls
    assert plugin.given == ({"a": "${NO_TOCAR:-x}", "b": [1, 2]}, redis, db)
    assert calls == [("set_nucleus", None), ("inicializar", None)]
    assert manager.plugins["dos"].instance.given[0] == {}
    assert manager.get_processor("c1") is plugin  # the object itself, also for the mirror
    assert manager.get_processor("c2") is manager.plugins["dos"].instance
    assert manager.get_processor("c9") is None
    assert manager.critical_channels == ("c1", "c2")
    await manager.detener()
    await manager.detener()
    assert [call for call, _ in calls].count("detener") == 1


def _plugin(init: str = "pass", constructor: str = "pass", stop: str = "pass") -> str:
    return f"""
    import asyncio, sys
    begun, stopped = [], []
    class Plugin:
        def __init__(self, config, redis_client, db_config):
            {constructor}
        async def inicializar(self, nucleus):
            {init}
        async def detener(self):
            stopped.append(1)
            {stop}
    """


BROKEN: dict[str, tuple[str, dict[str, Any], str]] = {
    "import": ("import no_existe_xyz", {}, "no se puede importar import.code: ModuleNotFoundError"),
    "syntax": ("def (", {}, "SyntaxError"),
    "exits": ("raise SystemExit(3)", {}, "no se puede importar exits.code: SystemExit: 3"),
    "no_class": ("x = 1", {}, "no_class.code no tiene ninguna clase Plugin"),
    "no_init": (
        "class Plugin:\n    def __init__(self, config, redis_client, db_config): pass",
        {},
        "no tiene inicializar(nucleus)",
    ),
    "signature": ("class Plugin: pass", {}, "TypeError: "),
    "constructor": (_plugin(constructor="raise RuntimeError('malo')"), {}, "RuntimeError: malo"),
    "initialise": (_plugin(init="raise KeyError('malo')"), {}, "KeyError: 'malo'"),
    "no_text": (_plugin(init="raise RuntimeError"), {}, "RuntimeError: RuntimeError"),
    "hang": (_plugin(init="await asyncio.sleep(60)"), {}, "hang.inicializar no terminó en 0.3 s"),
    "cancels": (_plugin(init="raise asyncio.CancelledError"), {}, "se canceló a sí mismo"),
    "sys_exit": (_plugin(init="sys.exit(4)"), {}, "quiso terminar el proceso"),
    "value": (_plugin(init="raise ValueError('a.b: mal')"), {}, "a.b: mal"),
    "dependency": (
        _plugin(),
        {"dependencies": ["nada-xyz==1"]},
        "faltan dependencias de Python: n",
    ),
    "no_config": (_plugin(), {"config_file": "no/existe.yaml"}, "no se puede leer"),
    "bad_config": (_plugin(), {"config": "a: [1"}, "no es YAML válido en la línea"),
    "list_config": (_plugin(), {"config": "- 1"}, "se encontró list; se espera un grupo"),
}


@pytest.mark.parametrize("kind", sorted(BROKEN))
async def test_a_broken_plugin_never_stops_the_others(
    plugin_folder: PluginFolder, kind: str
) -> None:
    code, manifest, expected = BROKEN[kind]
    plugin_folder.add("aaa", GOOD_PLUGIN)
    plugin_folder.add(kind, code, **manifest)
    plugin_folder.add("zzz", GOOD_PLUGIN)
    manager = _manager(plugin_folder)
    await manager.load(None)
    assert list(manager.plugins) == ["aaa", "zzz"]
    assert list(manager.fallos) == [kind]
    assert expected in manager.fallos[kind]
    assert manager.config_faults == {}  # it is not critical
    await manager.detener()


async def test_broken_manifests_never_stop_the_others(plugin_folder: PluginFolder) -> None:
    good = plugin_folder.add("bueno", GOOD_PLUGIN)
    plugin_folder.add_raw("roto", "{")
    plugin_folder.add_raw("vacio", "{}")
    plugin_folder.add_raw("copia", json.dumps(good))
    manager = _manager(plugin_folder)
    await manager.load(None)
    # Folder order decides who has the name: "bueno" before "copia".
    assert list(manager.plugins) == ["bueno"]
    assert manager.fallos["roto"].startswith("plugin.json no es JSON válido")
    assert "falta 'name'" in manager.fallos["vacio"]
    assert manager.fallos["copia"] == "ya hay un plugin llamado 'bueno'"


@pytest.mark.parametrize("where", ["constructor", "init"])
async def test_a_wrong_configuration_of_a_critical_plugin(
    plugin_folder: PluginFolder, where: str
) -> None:
    code = _plugin(**{where: "raise ValueError('a.b: mal')"})
    plugin_folder.add("critico", code, critical=True)
    plugin_folder.add("otro_fallo", _plugin(init="raise KeyError(1)"), critical=True)
    manager = _manager(plugin_folder)
    await manager.load(None)
    assert manager.config_faults == {"critico": "a.b: mal"}
    assert set(manager.fallos) == {"critico", "otro_fallo"}


async def test_a_plugin_that_failed_half_way_is_stopped(plugin_folder: PluginFolder) -> None:
    plugin_folder.add("medio", _plugin(init="raise KeyError(1)", stop="raise OSError"))
    manager = _manager(plugin_folder)
    await manager.load(None)
    assert sys.modules[f"{plugin_folder.path.name}.medio.code"].stopped == [1]


async def test_stopping_survives_hangs_and_faults_side_by_side(
    plugin_folder: PluginFolder, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b", "c"):
        plugin_folder.add(f"cuelga_{name}", _plugin(stop="await asyncio.sleep(60)"))
    plugin_folder.add("falla", _plugin(stop="raise RuntimeError('uy')"))
    plugin_folder.add("sin_detener", _plugin().replace("detener", "otra"))
    plugin_folder.add("zzz", GOOD_PLUGIN)
    manager = _manager(plugin_folder)
    await manager.load(None)
    good = manager.plugins["zzz"].instance
    started = time.monotonic()
    await manager.detener()
    assert time.monotonic() - started < 0.8  # three hangs of 0.3 s in a row would be more
    assert ("detener", None) in good.calls
    assert "falla: detener falló: RuntimeError: uy" in caplog.text


@pytest.mark.parametrize("content", [None, "a: ["])
async def test_another_configuration_stands_in_for_a_missing_or_broken_file(
    plugin_folder: PluginFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: str | None,
) -> None:
    other = tmp_path / "otra.yaml"
    other.write_text("a: 1", encoding="utf-8")
    usual = {"config_file": "no/existe.yaml"} if content is None else {"config": content}
    plugin_folder.add("p", GOOD_PLUGIN, **usual, config_env="P_CONFIG", critical=True)
    monkeypatch.setenv("P_CONFIG", str(other))
    manager = _manager(plugin_folder)
    await manager.load(None)
    assert manager.fallos == {}
    assert manager.plugins["p"].instance.given[0] == {"a": 1}
    for unset in ("", str(tmp_path / "nada.yaml")):
        monkeypatch.setenv("P_CONFIG", unset)
        manager = _manager(plugin_folder)
        await manager.load(None)
        named = unset or ("no/existe.yaml" if content is None else "config.yaml")
        assert named in manager.config_faults["p"]


async def test_what_a_plugin_complains_of_hides_its_secrets(
    plugin_folder: PluginFolder, caplog: pytest.LogCaptureFixture
) -> None:
    fault = "raise OSError('postgresql://u:s3creto@h/b no responde')"
    plugin_folder.add("p", _plugin(init=fault))
    manager = _manager(plugin_folder)
    await manager.load(None)
    assert manager.fallos == {"p": "OSError: postgresql://***@h/b no responde"}
    assert "s3creto" not in caplog.text


async def test_a_cancelled_load_stops_the_plugin_in_hand(plugin_folder: PluginFolder) -> None:
    plugin_folder.add("lento", _plugin(init="begun.append(1); await asyncio.sleep(60)"))
    manager = PluginManager(plugin_folder.path, init_seconds=60)
    task = asyncio.create_task(manager.load(None))
    module_name = f"{plugin_folder.path.name}.lento.code"
    await until(lambda: module_name in sys.modules and sys.modules[module_name].begun)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sys.modules[module_name].stopped == [1]
