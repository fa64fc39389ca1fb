from __future__ import annotations

import asyncio
from typing import Any

import pytest

from src.core.celu_entidad import CeluEntidadCoreC
from src.core.modules.auditoria import ModuloAuditoria
from src.core.modules.ejecucion import ModuloEjecucion
from src.core.modules.registro import ModuloRegistro
from src.core.modules.sincronizacion import ModuloSincronizacion
from src.core.processors.default import DefaultProcessor
from src.core.store import CorecStore
from tests.core.helpers import query, until

NODES = "SELECT nodo_id, instance_id, es_espejo, original_id FROM nodos ORDER BY 1"
ERROR_ROWS = """
    INSERT INTO auditoria SELECT gen_random_uuid()::text, %s, 'd',
           extract(epoch FROM now()) - %s, 'i' FROM generate_series(1, %s)
"""


def _celu(name: str = "n1", **more: Any) -> CeluEntidadCoreC:
    return CeluEntidadCoreC(name, DefaultProcessor(), "c", 0.01, {}, **more)


def test_registro_keeps_each_id_once() -> None:
    registro = ModuloRegistro()
    celu = _celu()
    registro.registrar(celu)
    assert registro.entidades == (celu,)
    with pytest.raises(ValueError, match="ya hay una entidad 'n1'"):
        registro.registrar(_celu())
    assert registro.entidades == (celu,)


class Dies(CeluEntidadCoreC):
    """A subclass whose loop is broken."""

    lives = 0

    async def ejecutar(self) -> None:
        self.lives += 1
        if self.lives == 1:
            raise RuntimeError("roto")
        if self.lives == 2:
            return
        await self._stop.wait()


async def test_ejecucion_restarts_what_died(caplog: pytest.LogCaptureFixture) -> None:
    registro = ModuloRegistro()
    celu = Dies("n1", DefaultProcessor(), "c", 1.0, {})
    registro.registrar(celu)
    ejecucion = ModuloEjecucion(registro, restart_seconds=0.01)
    await ejecucion.iniciar()
    await until(lambda: celu.lives == 3)
    assert "murió (RuntimeError: roto)" in caplog.text
    assert "su bucle terminó sin que nadie lo pidiera" in caplog.text
    await ejecucion.detener()
    await ejecucion.detener()
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "run:n1"]
    assert celu.lives == 3


async def test_ejecucion_starts_what_is_registered_later() -> None:
    registro = ModuloRegistro()
    ejecucion = ModuloEjecucion(registro)
    early, late = (Dies(name, DefaultProcessor(), "c", 1.0, {}) for name in ("n1", "n2"))
    registro.registrar(early)
    ejecucion.lanzar(early)
    await asyncio.sleep(0)
    assert early.lives == 0
    await ejecucion.iniciar()
    registro.registrar(late)
    ejecucion.lanzar(late)
    await until(lambda: early.lives and late.lives)
    await ejecucion.detener()


async def test_sincronizacion_writes_heartbeats_and_drops_the_silent(
    store: CorecStore, corec_dsn: str
) -> None:
    ages = {"callado": 181, "reciente": 170}
    for name, age in ages.items():
        query(
            corec_dsn,
            "INSERT INTO nodos VALUES (%s, 'otra', extract(epoch FROM now()) - %s, 0, false, null)",
            name,
            age,
        )
    registro = ModuloRegistro()
    celu = _celu()
    registro.registrar(celu)
    registro.registrar(celu.crear_espejo())
    modulo = ModuloSincronizacion(store, registro, "i9", interval=0.05)
    await modulo.iniciar()
    expected = [
        ("espejo_n1", "i9", True, "n1"),
        ("n1", "i9", False, None),
        ("reciente", "otra", False, None),
    ]
    await until(lambda: query(corec_dsn, NODES) == expected)
    beat = "SELECT ultima_actividad FROM nodos WHERE nodo_id = 'n1'"
    first = query(corec_dsn, beat)
    await until(lambda: query(corec_dsn, beat) > first)
    await modulo.detener()
    await modulo.detener()


@pytest.mark.parametrize("other", ["i9", "i10"])
async def test_two_hosts_of_one_name_are_told(
    store: CorecStore, other: str, caplog: pytest.LogCaptureFixture
) -> None:
    registro = ModuloRegistro()
    registro.registrar(_celu())
    first, second = (ModuloSincronizacion(store, registro, name) for name in ("i9", other))
    for _ in range(3):
        await first.paso()
        await second.paso()
    told = [r.getMessage() for r in caplog.records if "INSTANCE_ID=i9" in r.getMessage()]
    assert len(told) == (2 if other == "i9" else 0)


async def test_a_module_outlives_an_outage_and_says_it_once(
    store: CorecStore, corec_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    registro = ModuloRegistro()
    registro.registrar(_celu())
    query(corec_dsn, "ALTER TABLE nodos RENAME TO nodos_fuera")
    modulo = ModuloSincronizacion(store, registro, "i9", interval=0.01)
    steps = 0

    async def counted() -> None:
        nonlocal steps
        steps += 1
        await ModuloSincronizacion.paso(modulo)

    modulo.paso = counted  # type: ignore[method-assign]
    await modulo.iniciar()
    await until(lambda: steps > 3)
    query(corec_dsn, "ALTER TABLE nodos_fuera RENAME TO nodos")
    await until(lambda: query(corec_dsn, NODES))
    await until(lambda: "vuelve a funcionar" in caplog.text)
    await modulo.detener()
    assert caplog.text.count("WARNING") == 1


@pytest.fixture
def alerts() -> list[dict[str, Any]]:
    return []


def _auditoria(
    store: CorecStore, alerts: list[dict[str, Any]], clock: list[float]
) -> ModuloAuditoria:
    async def publish(alert: dict[str, Any]) -> None:
        alerts.append(alert)

    return ModuloAuditoria(store, publish, clock=lambda: clock[0])


async def test_auditoria_alerts_above_a_hundred_once_an_hour(
    store: CorecStore, corec_dsn: str, alerts: list[dict[str, Any]]
) -> None:
    clock = [0.0]
    modulo = _auditoria(store, alerts, clock)
    query(corec_dsn, ERROR_ROWS, "error_procesador", 0, 60)
    query(corec_dsn, ERROR_ROWS, "db_connection_error", 3500, 40)
    query(corec_dsn, ERROR_ROWS, "error", 3700, 50)  # too old
    query(corec_dsn, ERROR_ROWS, "arranque", 0, 50)  # no error
    await modulo.paso()
    assert alerts == []  # exactly 100
    query(corec_dsn, ERROR_ROWS, "error", 0, 1)
    await modulo.paso()
    assert alerts == [
        {
            "tipo": "auditoria",
            "valor": {"errores": 101, "micro_celus_debiles": 0},
            "nano_id": "auditoria",
            "prioridad": 3,
        }
    ]
    clock[0] = 3599.0
    await modulo.paso()
    assert len(alerts) == 1
    clock[0] = 3600.0
    await modulo.paso()
    assert len(alerts) == 2


async def test_auditoria_tries_again_when_the_alert_could_not_be_published(
    store: CorecStore, corec_dsn: str, alerts: list[dict[str, Any]]
) -> None:
    query(corec_dsn, ERROR_ROWS, "error", 0, 101)

    async def fails(alert: dict[str, Any]) -> None:
        alerts.append(alert)
        if len(alerts) == 1:
            raise OSError("fuera")

    modulo = ModuloAuditoria(store, fails)
    with pytest.raises(OSError, match="fuera"):
        await modulo.paso()
    await modulo.paso()
    await modulo.paso()
    assert len(alerts) == 2
