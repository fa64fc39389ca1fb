"""alert_manager in the real host, beside another plugin that publishes an alert."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
import zstandard

from src.core.celu_entidad import CeluEntidadCoreC
from src.core.nucleus import CoreCNucleus
from tests.core.helpers import PluginFolder, write_config
from tests.plugins.conftest import PROJECT, World, eventually, shipped_config

NEIGHBOUR = """
    class Plugin:
        def __init__(self, config, redis_client, db_config):
            pass
        async def inicializar(self, nucleus):
            self.nucleus = nucleus
        async def warn(self):
            await self.nucleus.publicar_alerta(
                {"tipo": "circuit_breaker_tripped", "plugin": "vecino", "exchange": "kraken"}
            )
"""
BROKEN = "raise RuntimeError('roto')"


@asynccontextmanager
async def corec(
    world: World, folder: PluginFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[CoreCNucleus]:
    """The host with alert_manager in a plugins folder of the test's, and main.py's entity."""
    source = PROJECT / "src" / "plugins" / "alert_manager"
    (folder.path / "alert_manager").symlink_to(source)
    config = tmp_path / "alert_manager.yaml"
    settings = {**shipped_config(), "db_config": {"dsn": world.alert_dsn}}
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    monkeypatch.setenv("ALERT_MANAGER_CONFIG", str(config))
    monkeypatch.setenv("COREC_DB_DSN", world.corec_dsn)
    monkeypatch.setenv("REDIS_URL", world.redis_url)
    monkeypatch.setenv("INSTANCE_ID", "corec1")
    path = write_config(tmp_path / "corec.yaml", plugins_dir=str(folder.path))
    nucleus = CoreCNucleus(path)
    await nucleus.inicializar()
    await nucleus.registrar_celu_entidad(
        CeluEntidadCoreC(
            "nano_alert_corec1",
            nucleus.get_procesador("alert_data"),
            "alert_data",
            5.0,
            nucleus.db_config,
            instance_id="corec1",
        )
    )
    running = asyncio.create_task(nucleus.iniciar())
    try:
        yield nucleus
    finally:
        await nucleus.detener()
        await running


async def test_an_alert_that_another_plugin_publishes_reaches_people(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = PluginFolder(tmp_path)
    folder.add("vecino", NEIGHBOUR)
    folder.add("roto", BROKEN)
    async with corec(world, folder, tmp_path, monkeypatch) as nucleus:
        assert nucleus.plugin_manager is not None
        assert sorted(nucleus.plugin_manager.plugins) == ["alert_manager", "vecino"]
        await nucleus.plugin_manager.plugins["vecino"].instance.warn()
        [alert] = await eventually(world.alerts)
        rows = await eventually(
            lambda: world.corec("SELECT datos FROM eventos WHERE canal = 'alert_data'")
        )
    assert (alert["severity"], alert["source"]) == ("critica", "eventos")
    assert "kraken" in alert["message"]
    report = json.loads(zstandard.ZstdDecompressor().decompress(bytes(rows[0][0])))
    assert report["id"] == alert["id"]


async def test_entity_and_mirror_share_the_processor_and_publish_nothing_themselves(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with corec(world, PluginFolder(tmp_path), tmp_path, monkeypatch):
        for i in range(20):
            world.write("trading_results", b'{"profit": -%d}' % (200 + i))
        await eventually(lambda: len(world.alerts()) == 20)
        nodes = await eventually(
            lambda: (
                len(found := world.corec("SELECT nodo_id, es_espejo FROM nodos ORDER BY 1")) == 2
                and found
            )
        )
        await eventually(
            lambda: (
                world.corec("SELECT count(*) FROM eventos WHERE canal = 'alert_data'") == [(20,)]
            )
        )
    assert nodes == [("espejo_nano_alert_corec1", True), ("nano_alert_corec1", False)]
    assert {a["occurrences"] for a in world.alerts()} == {1}
