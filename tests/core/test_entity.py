from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest
from psycopg2.extensions import parse_dsn
from redis.asyncio import Redis

from src.core.celu_entidad import CeluEntidadCoreC
from src.core.processors.default import DefaultProcessor
from src.core.store import CorecStore
from src.utils.payload import PayloadError
from tests.core.helpers import Make, OwnReader, Script, decoded, published, query


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"id": "x" * 51}, "id: se encontró"),
        ({"canal": ""}, "canal: se encontró ''"),
        ({"intervalo": 0}, "intervalo: se encontró 0"),
        ({"intervalo": float("nan")}, "intervalo: se encontró nan"),
    ],
)
def test_wrong_arguments(changed: dict[str, Any], expected: str) -> None:
    arguments: dict[str, Any] = {"id": "a", "canal": "c", "intervalo": 1.0, **changed}
    with pytest.raises(ValueError, match=expected):
        CeluEntidadCoreC(procesador=DefaultProcessor(), db_config={}, **arguments)


async def test_result_of_a_step(make: Make) -> None:
    celu = make(lambda datos: {"n": 1}, instance_id="i9")
    result = await celu.procesar()
    assert isinstance(result.pop("timestamp"), float)
    assert result == {
        "estado": "ok",
        "nano_id": "nano_x",
        "canal": "canal_x",
        "resultado": {"n": 1},
        "es_espejo": False,
        "original_id": None,
        "instance_id": "i9",
    }
    assert isinstance(celu.procesador, Script)
    assert celu.procesador.seen == [
        ({}, {"tipo": "nano", "canal": "canal_x", "instance_id": "i9", "nano_id": "nano_x"})
    ]


async def test_a_fault_is_a_result(make: Make) -> None:
    def work(datos: dict[str, Any]) -> None:
        raise KeyError("redis://u:s3creto@h")

    result = await make(work).procesar()
    assert (result["estado"], result["mensaje"]) == ("error", "KeyError: 'redis://***@h'")
    assert "resultado" not in result


async def test_datos_are_the_newest_unseen_row_of_the_own_channel(
    make: Make, corec_dsn: str
) -> None:
    celu = make(lambda datos: {})
    assert await celu.obtener_datos() is None
    insert = "INSERT INTO eventos (canal, datos, timestamp, instance_id) VALUES (%s, %s, 5.5, 'i')"
    query(corec_dsn, insert, "canal_x", b"viejo")
    query(corec_dsn, insert, "canal_x", b"nuevo")
    query(corec_dsn, insert, "otro", b"ajeno")
    row = await celu.obtener_datos()
    assert row == {
        "id": 2,
        "canal": "canal_x",
        "datos": b"nuevo",
        "timestamp": 5.5,
        "instance_id": "i",
    }
    assert await celu.obtener_datos() is None
    query(corec_dsn, insert, "canal_x", b"otro")
    again = await celu.obtener_datos()
    assert again is not None
    assert again["datos"] == b"otro"


@pytest.mark.parametrize(("kind", "value"), [("text", '{"a": 1}'), ("jsonb", {"a": 1})])
async def test_datos_of_older_columns(make: Make, corec_dsn: str, kind: str, value: object) -> None:
    query(
        corec_dsn,
        f"ALTER TABLE eventos ALTER datos TYPE {kind} USING convert_from(datos, 'UTF8')::{kind}",
    )
    query(corec_dsn, "INSERT INTO eventos (canal, datos) VALUES ('canal_x', '{\"a\": 1}')")
    row = await make(lambda datos: {}).obtener_datos()
    assert row is not None
    assert row["datos"] == value


async def test_a_processor_that_reads_for_itself_gets_no_query(make: Make, corec_dsn: str) -> None:
    query(corec_dsn, "INSERT INTO eventos (canal, datos) VALUES ('canal_x', 'x')")
    processor = OwnReader(lambda datos: {})
    celu = make(processor)
    query(corec_dsn, "DROP TABLE eventos")  # a query would fail
    assert (await celu.procesar())["estado"] == "ok"
    assert processor.seen[0][0] == {}


async def test_publishes_to_eventos_and_to_the_stream(
    make: Make, corec_dsn: str, redis_client: Redis
) -> None:
    celu = make(lambda datos: {"n": 1, "publicar": True}, instance_id="i9")
    await celu.comunicar(await celu.procesar())
    assert published(corec_dsn, "canal_x") == [{"n": 1}]
    assert query(corec_dsn, "SELECT instance_id, timestamp > 1e9 FROM eventos") == [("i9", True)]
    entries: Any = await redis_client.xrange("canal_x")
    assert [decoded(fields[b"data"]) for _, fields in entries] == [{"n": 1}]


@pytest.mark.parametrize(
    "outcome", [{}, None, {"publicar": True}, {"publicar": False, "n": 1}, "texto", [1]]
)
async def test_nothing_to_publish(
    make: Make, corec_dsn: str, redis_client: Redis, outcome: object
) -> None:
    celu = make(lambda datos: outcome)
    await celu.comunicar(await celu.procesar())
    assert query(corec_dsn, "SELECT * FROM eventos") == []
    assert await redis_client.exists("canal_x") == 0


async def test_errors_and_mirrors_never_publish(make: Make, corec_dsn: str) -> None:
    celu = make(lambda datos: {"n": 1})
    result = await celu.procesar()
    await celu.comunicar({**result, "estado": "error"})
    espejo = make(lambda datos: {"n": 1}, es_espejo=True, original_id="nano_x")
    await espejo.comunicar(await espejo.procesar())
    assert query(corec_dsn, "SELECT * FROM eventos") == []


async def test_the_pair_never_takes_its_own_publication_for_input(
    make: Make, store: CorecStore, redis_client: Redis, corec_dsn: str
) -> None:
    celu = make(lambda datos: {"n": 1})
    espejo = celu.crear_espejo()
    espejo.vincular(store, redis_client)
    assert espejo.procesador is celu.procesador
    assert (espejo.id, espejo.es_espejo, espejo.original_id) == ("espejo_nano_x", True, "nano_x")
    await store.insert_event("canal_x", '{"ajeno": 1}', "i", time.time())
    await celu.comunicar(await celu.procesar())
    assert await celu.obtener_datos() is None
    row = await espejo.obtener_datos()
    assert row is not None
    assert decoded(row["datos"]) == {"ajeno": 1}
    assert await espejo.obtener_datos() is None


async def test_the_mirror_never_sees_a_publication_before_it_is_known_as_own(
    make: Make, store: CorecStore, redis_client: Redis
) -> None:
    celu = make(lambda datos: {"n": 1})
    espejo = celu.crear_espejo()
    espejo.vincular(store, redis_client)
    result = await celu.procesar()

    async def publish() -> None:
        for _ in range(100):
            await celu.comunicar(result)

    publishing = asyncio.create_task(publish())
    while not publishing.done():
        assert await espejo.obtener_datos() is None
    await publishing


async def test_a_publication_is_noted_before_anybody_can_see_it(
    store: CorecStore, corec_dsn: str
) -> None:
    seen: list[tuple[int, list[Any]]] = []

    def note(row_id: int) -> None:
        seen.append((row_id, query(corec_dsn, "SELECT id FROM eventos")))

    await store.publish("nano_x", "canal_x", "{}", "i", note)
    assert seen == [(1, [])]
    assert query(corec_dsn, "SELECT id FROM eventos") == [(1,)]


async def test_own_publications_are_no_input_after_a_restart(
    make: Make, store: CorecStore, corec_dsn: str
) -> None:
    before = make(lambda datos: {"n": 1})
    await store.insert_event("canal_x", '{"viejo": 1}', "i", time.time())
    for _ in range(3):
        await before.comunicar(await before.procesar())
    after = make(lambda datos: {})
    assert await after.obtener_datos() is None
    assert query(corec_dsn, "SELECT tipo, detalle FROM auditoria") == [("ultima_publicacion", "4")]
    # What came while nobody ran is.
    await store.insert_event("canal_x", '{"nuevo": 1}', "i", time.time())
    row = await make(lambda datos: {}).obtener_datos()
    assert row is not None
    assert decoded(row["datos"]) == {"nuevo": 1}
    # Another entity of the same channel takes them for what they are.
    other = make(lambda datos: {}, instance_id="otra")
    assert await other.obtener_datos() is not None


async def test_an_emptied_eventos_is_read_from_its_beginning_after_a_restart(
    make: Make, store: CorecStore, corec_dsn: str
) -> None:
    before = make(lambda datos: {"n": 1})
    for _ in range(3):
        await before.comunicar(await before.procesar())
    query(corec_dsn, "TRUNCATE eventos RESTART IDENTITY")
    await store.insert_event("canal_x", '{"nuevo": 1}', "i", time.time())
    assert await make(lambda datos: {}).obtener_datos() is not None


async def test_many_own_publications_are_still_no_input(make: Make, store: CorecStore) -> None:
    celu = make(lambda datos: {"n": 1})
    result = await celu.procesar()
    for _ in range(300):  # more than are remembered one by one
        await celu.comunicar(result)
    assert await celu.obtener_datos() is None
    await store.insert_event("canal_x", '{"ajeno": 1}', "i", time.time())
    assert await celu.obtener_datos() is not None


async def test_what_is_no_json_is_a_clear_error(make: Make, corec_dsn: str) -> None:
    celu = make(lambda datos: {"a": object()})
    with pytest.raises(PayloadError, match=r"\$\.a"):
        await celu.comunicar(await celu.procesar())
    assert query(corec_dsn, "SELECT * FROM eventos") == []


async def test_redis_that_is_away_costs_only_the_stream(
    make: Make, store: CorecStore, corec_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    celu = make(lambda datos: {"n": 1})
    away = Redis.from_url("redis://127.0.0.1:1", socket_connect_timeout=1)
    celu.vincular(store, away)
    for _ in range(2):
        await celu.comunicar(await celu.procesar())
    await away.aclose()
    assert len(published(corec_dsn, "canal_x")) == 2
    assert caplog.text.count("el stream canal_x no recibe") == 1


async def test_alone_it_opens_its_own_connection(corec_dsn: str) -> None:
    celu = CeluEntidadCoreC("a", DefaultProcessor(), "c", 1.0, parse_dsn(corec_dsn))
    with pytest.raises(RuntimeError, match="falta llamar a inicializar"):
        await celu.comunicar({"estado": "ok", "resultado": {"n": 1}})
    await celu.inicializar()
    await celu.comunicar({"estado": "ok", "resultado": {"n": 1}})
    assert published(corec_dsn, "c") == [{"n": 1}]
    await celu.detener()
