from __future__ import annotations

import asyncio
import time
from typing import Any

import psycopg2
import pytest

from src.core.celu_entidad import CeluEntidadCoreC
from src.core.nucleus import CoreCNucleus
from src.core.processors.base import ProcesadorBase
from src.core.processors.default import DefaultProcessor
from src.utils.config_errors import ConfigError
from tests.core.helpers import (
    ALERT,
    GOOD_PLUGIN,
    MakeNucleus,
    PluginFolder,
    connected,
    published,
    query,
    until,
)
from tests.support.servers import TestPostgres, TestRedis

TABLES = "SELECT count(*) FROM pg_class WHERE relname IN ('eventos', 'nodos', 'auditoria')"


class Counter(ProcesadorBase):
    """Publishes the number of the call and keeps who called."""

    def __init__(self) -> None:
        self.callers: list[str] = []

    async def procesar(self, datos: dict[str, Any], contexto: dict[str, Any]) -> dict[str, Any]:
        self.callers.append(contexto["nano_id"])
        return {"n": len(self.callers), "quien": contexto["nano_id"]}


def _celu(nucleus: CoreCNucleus, canal: str, procesador: Any, name: str = "n1") -> CeluEntidadCoreC:
    return CeluEntidadCoreC(
        name, procesador, canal, 0.05, nucleus.db_config, instance_id=nucleus.instance_id
    )


async def test_attributes_of_the_contract(
    make_nucleus: MakeNucleus, plugin_folder: PluginFolder, corec_dsn: str
) -> None:
    plugin_folder.add("a", GOOD_PLUGIN, channels=["alert_data", "alertas"], critical=True)
    nucleus = make_nucleus()
    await nucleus.inicializar()
    assert nucleus.instance_id == "i9"
    assert nucleus.db_config == psycopg2.extensions.parse_dsn(corec_dsn)
    assert await nucleus.redis_client.ping()
    assert nucleus.canales_criticos == ("seguridad_alertas", "alert_data", "alertas")
    assert list(nucleus.modulos) == ["registro", "ejecucion", "sincronizacion", "auditoria"]
    assert nucleus.config["instance_id"] == "i9"
    assert nucleus.plugin_manager is not None
    plugin = nucleus.plugin_manager.plugins["a"].instance
    assert plugin.given == ({}, nucleus.redis_client, nucleus.db_config)
    assert plugin.calls == [("set_nucleus", nucleus), ("inicializar", nucleus)]
    assert nucleus.get_procesador("alert_data") is plugin


async def test_a_channel_without_plugin_gets_the_default_processor(
    make_nucleus: MakeNucleus, caplog: pytest.LogCaptureFixture
) -> None:
    nucleus = make_nucleus()
    assert isinstance(nucleus.get_procesador("x"), DefaultProcessor)
    assert "antes de cargar los plugins" in caplog.text
    await nucleus.inicializar()
    processor = nucleus.get_procesador("x")
    assert isinstance(processor, DefaultProcessor)
    assert processor.nucleus is nucleus
    answer = await processor.procesar({}, {"canal": "x"})
    assert answer["publicar"] is False


async def test_before_inicializar_is_a_clear_error(make_nucleus: MakeNucleus) -> None:
    nucleus = make_nucleus()
    with pytest.raises(RuntimeError, match=r"falta llamar a inicializar\(\)"):
        await nucleus.publicar_alerta({"tipo": "x"})
    with pytest.raises(RuntimeError, match="falta llamar"):
        await nucleus.iniciar()


async def test_razonar_and_responder_chat_are_honest(make_nucleus: MakeNucleus) -> None:
    nucleus = make_nucleus()
    assert "No hay ningún motor" in (await nucleus.razonar({"a": 1}, {}))["respuesta"]
    assert "No hay ningún motor" in (await nucleus.responder_chat("hola", {}))["respuesta"]


async def test_a_critical_channel_gets_a_mirror_and_the_pair_publishes_once(
    make_nucleus: MakeNucleus, corec_dsn: str
) -> None:
    nucleus = make_nucleus()
    await nucleus.inicializar()
    processor = Counter()
    await nucleus.registrar_celu_entidad(_celu(nucleus, "seguridad_alertas", processor))
    service = asyncio.create_task(nucleus.iniciar())
    await until(lambda: {"n1", "espejo_n1"} <= set(processor.callers))
    await until(lambda: len(published(corec_dsn, "seguridad_alertas")) >= 3)
    await nucleus.detener()
    await service
    rows = published(corec_dsn, "seguridad_alertas")
    assert {row["quien"] for row in rows} == {"n1"}
    assert len(rows) == processor.callers.count("n1")
    nodes = query(corec_dsn, "SELECT nodo_id, es_espejo, original_id FROM nodos ORDER BY 1")
    assert nodes == [("espejo_n1", True, "n1"), ("n1", False, None)]


async def test_other_channels_and_mirrors_get_no_mirror(make_nucleus: MakeNucleus) -> None:
    nucleus = make_nucleus()
    await nucleus.inicializar()
    await nucleus.registrar_celu_entidad(_celu(nucleus, "market_data", Counter()))
    espejo = _celu(nucleus, "seguridad_alertas", Counter(), "n2").crear_espejo()
    await nucleus.registrar_celu_entidad(espejo)
    registro: Any = nucleus.modulos["registro"]
    assert [celu.id for celu in registro.entidades] == ["n1", "espejo_n2"]
    with pytest.raises(ValueError, match="ya hay una entidad 'n1'"):
        await nucleus.registrar_celu_entidad(_celu(nucleus, "market_data", Counter()))


async def test_an_entity_registered_while_running_runs(
    make_nucleus: MakeNucleus, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    nucleus = make_nucleus()
    await nucleus.inicializar()
    service = asyncio.create_task(nucleus.iniciar())
    await until(lambda: "CoreC i9 listo" in caplog.text)
    processor = Counter()
    await nucleus.registrar_celu_entidad(_celu(nucleus, "market_data", processor))
    await until(lambda: processor.callers)
    await nucleus.detener()
    await service


async def test_starts_while_corec_db_is_down_and_catches_up(
    make_nucleus: MakeNucleus,
    alert_dsn: str,
    postgres_server: TestPostgres,
    plugin_folder: PluginFolder,
) -> None:
    plugin_folder.add("a", GOOD_PLUGIN)
    nucleus = make_nucleus(dsn=alert_dsn, db_wait_seconds=0.2)
    await asyncio.to_thread(postgres_server.stop)
    try:
        await asyncio.wait_for(nucleus.inicializar(), 10)
        assert nucleus.plugin_manager is not None
        assert list(nucleus.plugin_manager.plugins) == ["a"]
    finally:
        await asyncio.to_thread(postgres_server.start)
    await until(lambda: query(alert_dsn, TABLES) == [(3,)])
    await nucleus.publicar_alerta(ALERT)
    assert published(alert_dsn, "alertas") == [ALERT]


async def test_starts_while_redis_is_down_and_its_client_reconnects(
    make_nucleus: MakeNucleus, redis_server: TestRedis
) -> None:
    await asyncio.to_thread(redis_server.stop)
    try:
        nucleus = make_nucleus()
        await asyncio.wait_for(nucleus.inicializar(), 10)
    finally:
        await asyncio.to_thread(redis_server.start)
    assert await nucleus.redis_client.ping()


async def test_a_role_that_may_not_create_tables_is_told_and_goes_on(
    make_nucleus: MakeNucleus, postgres_server: TestPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    postgres_server.create_role("ajeno")
    empty = psycopg2.extensions.parse_dsn(postgres_server.create_database("nadie"))["dbname"]
    nucleus = make_nucleus(dsn=postgres_server.dsn(empty, "ajeno"))
    await nucleus.inicializar()
    assert "no se pudo aplicar configs/core/schema.sql: InsufficientPrivilege" in caplog.text


async def test_two_hosts_make_the_tables_at_once(make_nucleus: MakeNucleus, alert_dsn: str) -> None:
    pair = [make_nucleus(dsn=alert_dsn, db_wait_seconds=10) for _ in range(2)]
    await asyncio.gather(*(nucleus.inicializar() for nucleus in pair))
    assert query(alert_dsn, TABLES) == [(3,)]


async def test_a_wrong_configuration_of_a_critical_plugin_stops_the_start(
    make_nucleus: MakeNucleus, plugin_folder: PluginFolder
) -> None:
    broken = GOOD_PLUGIN.replace(
        "self.calls = []", "raise ValueError('alert_config.x: clave desconocida')"
    )
    plugin_folder.add("critico", broken, critical=True)
    plugin_folder.add("otro", GOOD_PLUGIN)
    nucleus = make_nucleus()
    with pytest.raises(ConfigError, match=r"plugin critico: alert_config\.x: clave desconocida"):
        await nucleus.inicializar()
    assert nucleus.plugin_manager is not None
    plugin = nucleus.plugin_manager.plugins["otro"].instance
    await nucleus.detener()
    assert plugin.calls[-1] == ("detener", None)


@pytest.mark.parametrize(
    "url", ["redis://u:s3creto@h:puerto/0", "redis://u:s3creto@localhost/0?no_existe=5"]
)
async def test_a_wrong_redis_url_does_not_print_it(make_nucleus: MakeNucleus, url: str) -> None:
    nucleus = make_nucleus(redis=url)
    with pytest.raises(ConfigError, match="valor oculto") as caught:
        await nucleus.inicializar()
    assert "s3creto" not in str(caught.value)


ORDERED = GOOD_PLUGIN.replace(
    'self.calls.append(("detener", None))',
    """
            await self.calls[0][1].publicar_alerta({"tipo": "adios"})
            assert await self.given[1].ping()
            self.calls.append(("detener", None))""",
)


async def test_the_stop_is_ordered_and_finishes_the_step_in_hand(
    make_nucleus: MakeNucleus, plugin_folder: PluginFolder, corec_dsn: str
) -> None:
    plugin_folder.add("a", ORDERED)
    nucleus = make_nucleus()
    await nucleus.inicializar()
    begun = asyncio.Event()

    class Slow(ProcesadorBase):
        async def procesar(self, datos: dict[str, Any], contexto: dict[str, Any]) -> dict[str, Any]:
            begun.set()
            await asyncio.sleep(0.2)
            return {"hecho": 1}

    await nucleus.registrar_celu_entidad(_celu(nucleus, "market_data", Slow()))
    service = asyncio.create_task(nucleus.iniciar())
    await begun.wait()
    assert nucleus.plugin_manager is not None
    plugin = nucleus.plugin_manager.plugins["a"].instance
    await asyncio.gather(nucleus.detener(), nucleus.detener())
    await service
    # The entity's step was finished and published, then the plugin could still use everything.
    rows = query(corec_dsn, "SELECT canal FROM eventos ORDER BY id")
    assert rows == [("market_data",), ("alertas",)]
    assert plugin.calls[-1] == ("detener", None)
    with connected(corec_dsn) as conn, conn.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_stat_activity WHERE application_name = 'corec:i9'")
        assert cursor.fetchall() == []
    await nucleus.detener()


async def test_the_stop_ends_within_ten_seconds_whatever_hangs(
    make_nucleus: MakeNucleus, plugin_folder: PluginFolder, corec_dsn: str
) -> None:
    hang = GOOD_PLUGIN.replace('self.calls.append(("detener", None))', "await asyncio.sleep(60)")
    plugin_folder.add("a", "import asyncio\n" + hang.replace("\n    ", "\n"))
    nucleus = make_nucleus()
    await nucleus.inicializar()
    begun = asyncio.Event()

    class Hangs(ProcesadorBase):
        async def procesar(self, datos: dict[str, Any], contexto: dict[str, Any]) -> dict[str, Any]:
            begun.set()
            await asyncio.sleep(60)
            return {}

    await nucleus.registrar_celu_entidad(_celu(nucleus, "seguridad_alertas", Hangs()))
    service = asyncio.create_task(nucleus.iniciar())
    await begun.wait()
    with connected(corec_dsn) as blocker, blocker.cursor() as cursor:
        blocker.autocommit = False
        cursor.execute("LOCK TABLE eventos")
        alert = asyncio.create_task(nucleus.publicar_alerta(ALERT))
        waiting = "SELECT 1 FROM pg_locks WHERE NOT granted"
        await until(lambda: query(corec_dsn, waiting))
        started = time.monotonic()
        await nucleus.detener()
        assert time.monotonic() - started < 10
    await service
    with pytest.raises(psycopg2.Error):
        await alert


async def test_detener_before_inicializar(make_nucleus: MakeNucleus) -> None:
    nucleus = make_nucleus()
    await nucleus.detener()
    await nucleus.detener()
