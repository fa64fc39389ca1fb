from __future__ import annotations

import psycopg2
import redis

from tests.support.servers import TestPostgres, TestRedis


def test_databases_are_fresh_and_owned(corec_dsn: str, alert_dsn: str) -> None:
    link = psycopg2.connect(corec_dsn)
    try:
        with link, link.cursor() as cursor:
            cursor.execute("SELECT current_user, count(*) FROM eventos")
            assert cursor.fetchone() == ("corec_user", 0)
    finally:
        link.close()
    link = psycopg2.connect(alert_dsn)
    try:
        with link, link.cursor() as cursor:
            cursor.execute("SELECT current_user, to_regclass('alerts')")
            assert cursor.fetchone() == ("alert_user", None)
    finally:
        link.close()


def test_postgres_can_be_stopped_and_started(postgres_server: TestPostgres) -> None:
    dsn = postgres_server.create_database("again")
    postgres_server.stop()
    assert postgres_server.pid() is None
    postgres_server.start()
    psycopg2.connect(dsn).close()


def test_redis_is_empty_and_can_be_stopped_and_started(
    redis_url: str, redis_server: TestRedis
) -> None:
    client = redis.Redis.from_url(redis_url)
    assert client.dbsize() == 0
    client.set("kept", "1")
    redis_server.stop()
    redis_server.start()
    assert client.get("kept") == b"1"
    client.close()


def test_redis_floor_is_6_2(redis_floor_url: str) -> None:
    client = redis.Redis.from_url(redis_floor_url)
    assert str(client.info()["redis_version"]).startswith("6.2.")
    client.close()


def test_postgres_comes_back_after_kill_9(postgres_server: TestPostgres) -> None:
    dsn = postgres_server.create_database("killed")
    link = psycopg2.connect(dsn)
    pid = postgres_server.pid()
    assert pid is not None
    postgres_server.kill()
    assert postgres_server.pid() is None
    postgres_server.start()
    assert postgres_server.pid() not in {None, pid}
    psycopg2.connect(dsn).close()
    link.close()
