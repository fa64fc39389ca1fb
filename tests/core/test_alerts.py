from __future__ import annotations

import asyncio
import json
import time
from decimal import Decimal
from typing import Any

import psycopg2
import pytest
from psycopg2.extensions import parse_dsn

from src.core.store import CorecStore
from src.utils.postgres import Database, NoAnswerError
from tests.core.helpers import ALERT, MakeNucleus, connected, published, query, until
from tests.support.servers import TestPostgres


@pytest.mark.parametrize("kind", ["bytea", "text", "jsonb"])
async def test_publicar_alerta_decodes_back_from_every_column(
    make_nucleus: MakeNucleus, corec_dsn: str, kind: str
) -> None:
    nucleus = make_nucleus()
    await nucleus.inicializar()
    if kind != "bytea":
        query(
            corec_dsn,
            f"ALTER TABLE eventos ALTER datos TYPE {kind} USING convert_from(datos,'UTF8')::{kind}",
        )
    before = time.time()
    assert await nucleus.publicar_alerta(ALERT) is None  # type: ignore[func-returns-value]
    assert published(corec_dsn, "alertas") == [ALERT]
    ((timestamp, instance_id),) = query(corec_dsn, "SELECT timestamp, instance_id FROM eventos")
    assert before <= timestamp <= time.time()
    assert instance_id == "i9"


async def test_publicar_alerta_loses_no_alert_that_is_no_json(
    make_nucleus: MakeNucleus, corec_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    nucleus = make_nucleus()
    await nucleus.inicializar()
    loop: dict[str, Any] = {}
    loop["self"] = loop
    alert = {"valor": {"x": {1}}, "d": Decimal("150.5"), "n": float("nan"), "b": b"z", "l": loop}
    await nucleus.publicar_alerta(alert)
    assert "$.valor.x: se encontró un valor de tipo set" in caplog.text
    [stored] = published(corec_dsn, "alertas")
    assert stored["valor"] == {"x": [1]}
    assert (stored["d"], stored["n"], stored["b"]) == ("150.5", "nan", "b'z'")


async def test_publicar_alerta_waits_for_a_database_that_comes_back(
    make_nucleus: MakeNucleus,
    corec_dsn: str,
    postgres_server: TestPostgres,
    caplog: pytest.LogCaptureFixture,
) -> None:
    nucleus = make_nucleus()
    await nucleus.inicializar()
    await asyncio.to_thread(postgres_server.stop)
    try:
        task = asyncio.create_task(nucleus.publicar_alerta(ALERT))
        await until(lambda: "publicar_alerta: intento 1 fallido" in caplog.text)
    finally:
        await asyncio.to_thread(postgres_server.start)
    await task
    assert published(corec_dsn, "alertas") == [ALERT]


async def test_an_alert_that_cannot_be_written_is_in_the_log(
    make_nucleus: MakeNucleus, postgres_server: TestPostgres, caplog: pytest.LogCaptureFixture
) -> None:
    nucleus = make_nucleus()
    await nucleus.inicializar()
    nucleus.publish_seconds = 0.3
    alert = {"tipo": "api_error", "password": "s3creto"}
    await asyncio.to_thread(postgres_server.stop)
    try:
        with pytest.raises(psycopg2.OperationalError):
            await nucleus.publicar_alerta(alert)
        nucleus.publish_seconds = 60
        task = asyncio.create_task(nucleus.publicar_alerta({"tipo": "cancelada"}))
        await until(lambda: caplog.text.count("intento 1 fallido") == 2)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    finally:
        await asyncio.to_thread(postgres_server.start)
    errors = [record.getMessage() for record in caplog.get_records("call")]
    told = [text for text in errors if text.startswith("alerta no publicada")]
    assert ['"api_error"' in told[0], '"cancelada"' in told[1]] == [True, True]
    assert "s3creto" not in "".join(errors)


async def test_alerts_that_queue_for_corec_db_end_in_time_and_come_no_later(
    make_nucleus: MakeNucleus, corec_dsn: str, caplog: pytest.LogCaptureFixture
) -> None:
    nucleus = make_nucleus()
    await nucleus.inicializar()
    nucleus.publish_seconds = 0.5
    with connected(corec_dsn) as blocker, blocker.cursor() as cursor:
        blocker.autocommit = False
        cursor.execute("LOCK TABLE eventos")
        started = time.monotonic()
        alerts = (nucleus.publicar_alerta({"n": Decimal(n)}) for n in range(20))
        ends = await asyncio.gather(*alerts, return_exceptions=True)
        assert time.monotonic() - started < 2
    assert {type(end) for end in ends} == {NoAnswerError}
    assert (
        caplog.text.count("alerta no publicada (NoAnswerError: corec_db no la tomó en 0.5 s)") == 20
    )
    nucleus.publish_seconds = 30
    await nucleus.publicar_alerta(ALERT)
    assert published(corec_dsn, "alertas") == [ALERT]


async def test_a_try_whose_answer_was_lost_makes_no_second_row(
    make_nucleus: MakeNucleus, corec_dsn: str
) -> None:
    database = Database(parse_dsn(corec_dsn))
    store = CorecStore(database)
    await make_nucleus().inicializar()
    for timestamp in (1.5, 1.5, 2.5):
        await store.insert_event("alertas", json.dumps(ALERT), "corec1", timestamp)
    await store.insert_event("alertas", json.dumps(ALERT), "corec2", 2.5)
    await database.close()
    assert published(corec_dsn, "alertas") == [ALERT] * 3


async def test_a_number_beyond_any_is_no_reason_to_lose_the_alert(
    make_nucleus: MakeNucleus, corec_dsn: str
) -> None:
    nucleus = make_nucleus()
    await nucleus.inicializar()
    await nucleus.publicar_alerta({"tipo": "perdida", "valor": 10**5000})
    expected = {"tipo": "perdida", "valor": "<entero de 16610 bits>"}
    assert published(corec_dsn, "alertas") == [expected]
