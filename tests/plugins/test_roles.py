"""Roles that may no more than their work needs: servers refuse the rest, and the work goes on."""

from __future__ import annotations

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from click.testing import CliRunner
from psycopg2.extensions import parse_dsn

from src.core.modules.registro import ModuloRegistro
from src.core.modules.sincronizacion import ModuloSincronizacion
from src.core.store import CorecStore, Heartbeat
from src.plugins.alert_manager import retention
from src.plugins.alert_manager.cli.main import main
from src.plugins.alert_manager.processors import alert_processor
from src.utils.postgres import Database
from tests.conftest import CORE_SCHEMA
from tests.plugins.conftest import SCHEMA, World, eventually, show_to_commands
from tests.plugins.payloads import event, to_json
from tests.plugins.test_degraded import lose, told, until_settled
from tests.plugins.test_delivery import tell, until_health_says
from tests.support.discord import DiscordServer
from tests.support.servers import TestPostgres, guarded_directory

CORE_ROLES = CORE_SCHEMA.with_name("roles.sql")
ALERT_ROLES = SCHEMA.with_name("roles.sql")
ROLES = ("corec_host", "alert_reader", "alert_manager_app")


@dataclass
class Cluster:
    """A server of its own with both databases, made by their owners, and the roles of roles.sql."""

    server: TestPostgres
    corec: str  # the owner's
    alert: str

    def as_role(self, dsn: str, role: str) -> str:
        return self.server.dsn(parse_dsn(dsn)["dbname"], role)

    def apply_roles(self, dsn: str, file: Path) -> None:
        self.server.apply(self.as_role(dsn, "postgres"), file)


@pytest.fixture(scope="module")
def server() -> Iterator[TestPostgres]:
    with guarded_directory() as root:
        server = TestPostgres(root / "pg")
        server.root.mkdir()
        server.start()
        for role in ROLES:
            server.create_role(role)
        try:
            yield server
        finally:
            server.stop("immediate")


@pytest.fixture
def cluster(server: TestPostgres) -> Iterator[Cluster]:
    server.start()
    corec = server.create_database("corec", owner="corec_user")
    alert = server.create_database("alert", owner="alert_user")
    made = Cluster(server, corec, alert)
    for dsn, schema, roles in ((corec, CORE_SCHEMA, CORE_ROLES), (alert, SCHEMA, ALERT_ROLES)):
        server.apply(dsn, schema)
        made.apply_roles(dsn, roles)
    yield made
    for dsn in (corec, alert):
        server.drop_database(dsn)


def run(dsn: str, sql: str) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(dsn)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def write(dsn: str) -> None:
    run(dsn, "INSERT INTO eventos (canal, datos, timestamp) VALUES ('x', '\\x', 1)")


NOBODY_MAY = [
    "UPDATE eventos SET canal = 'x'",
    "DELETE FROM eventos",
    "TRUNCATE eventos",
    "SELECT FROM eventos FOR UPDATE",
    "LOCK TABLE eventos IN EXCLUSIVE MODE",
    "DROP TABLE eventos",
    "ALTER TABLE eventos ADD COLUMN x int",
    "ALTER TABLE eventos DISABLE TRIGGER ALL",
    "DROP TRIGGER corec_avisar_eventos ON eventos",
    "CREATE INDEX ON eventos (instance_id)",
    "SELECT setval('eventos_id_seq', 1)",
    "CREATE TABLE mine (x int)",
    "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
    "CREATE SCHEMA mine",
    "TRUNCATE nodos",
    "DROP TABLE auditoria",
    "CREATE ROLE mine",
    "COPY eventos TO PROGRAM 'cat'",
    "SELECT pg_read_file('PG_VERSION')",
]
READER_MAY_NOT = [
    "SELECT * FROM nodos",
    "INSERT INTO nodos VALUES ('x', 'x')",
    "DELETE FROM nodos",
    "SELECT * FROM auditoria",
    "INSERT INTO auditoria VALUES ('x')",
]
APP_MAY_NOT = [
    "CREATE TABLE mine (x int)",
    "CREATE TEMPORARY TABLE mine (x int)",
    "CREATE SCHEMA mine",
    "DROP TABLE alerts",
    "TRUNCATE alerts CASCADE",
    "ALTER TABLE alerts ADD COLUMN x int",
    "CREATE INDEX ON alerts (message)",
    "COMMENT ON TABLE alerts IS 'x'",
    "SELECT setval('alerts_id_seq', 1)",
    "SELECT pg_read_file('PG_VERSION')",
]


def test_the_servers_refuse_what_no_work_needs(cluster: Cluster) -> None:
    for dsn in (cluster.corec, cluster.as_role(cluster.corec, "corec_host")):
        write(dsn)
    forbidden = [
        *((cluster.corec, "corec_host", sql) for sql in NOBODY_MAY),
        *((cluster.corec, "alert_reader", sql) for sql in (*NOBODY_MAY, *READER_MAY_NOT)),
        *((cluster.alert, "alert_manager_app", sql) for sql in APP_MAY_NOT),
    ]
    for dsn, role, sql in forbidden:
        try:
            run(cluster.as_role(dsn, role), sql)
        except psycopg2.errors.InsufficientPrivilege:
            continue
        pytest.fail(f"{role} may {sql}")
    write(cluster.as_role(cluster.corec, "alert_reader"))
    assert run(cluster.corec, "SELECT id, canal FROM eventos ORDER BY id") == [
        (n, "x") for n in (1, 2, 3)
    ]


def test_the_owner_may_what_it_could_and_a_newer_schema_is_the_plugins_too(
    cluster: Cluster,
) -> None:
    run(cluster.corec, "TRUNCATE eventos")
    run(cluster.alert, "CREATE TABLE newer (id bigserial PRIMARY KEY)")
    run(cluster.as_role(cluster.alert, "alert_manager_app"), "INSERT INTO newer DEFAULT VALUES")


def test_applied_again_rights_that_were_added_by_hand_are_gone(cluster: Cluster) -> None:
    run(cluster.corec, "GRANT ALL ON eventos, nodos TO alert_reader")
    run(cluster.corec, "GRANT CREATE ON SCHEMA public TO PUBLIC")
    reader = cluster.as_role(cluster.corec, "alert_reader")
    run(reader, "UPDATE eventos SET canal = 'x'")
    for _ in range(2):
        cluster.apply_roles(cluster.corec, CORE_ROLES)
    for sql in ("UPDATE eventos SET canal = 'x'", "CREATE TABLE mine (x int)", "TABLE nodos"):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            run(reader, sql)
    run(reader, "TABLE eventos")


@pytest.mark.parametrize("how", ["environment", "variable"])
def test_passwords_come_from_outside_and_stay_out_of_the_log(cluster: Cluster, how: str) -> None:
    secret = f"clave 'con' $comillas$ {how}"
    names = {"host_password": "COREC_HOST_PASSWORD", "reader_password": "ALERT_READER_PASSWORD"}
    values = [f"{name}={secret}" for name in names]
    environ = {"PATH": "/usr/bin", **(dict.fromkeys(names.values(), secret))}
    superuser = cluster.as_role(cluster.corec, "postgres")
    run(superuser, "ALTER ROLE postgres SET log_statement = 'all'")
    command = [str(cluster.server.bin_dir / "psql"), "-X", "-d", superuser, "-f", str(CORE_ROLES)]
    try:
        subprocess.run(
            command if how == "environment" else [*command, *(f"-v{value}" for value in values)],
            env=environ if how == "environment" else {"PATH": "/usr/bin"},
            check=True,
            capture_output=True,
        )
    finally:
        run(superuser, "ALTER ROLE postgres RESET log_statement")
    stored = "SELECT rolname FROM pg_authid WHERE rolpassword LIKE 'SCRAM-SHA-256$%' ORDER BY 1"
    assert [row[0] for row in run(superuser, stored)] == ["alert_reader", "corec_host"]
    log = (cluster.server.root / "log").read_text(encoding="utf-8")
    assert "REVOKE" not in log  # nothing of it was written down
    assert secret not in log
    assert "comillas" not in log
    # Without one it keeps the one that it has; so does an empty one, as compose gives it.
    before = run(superuser, "SELECT rolpassword FROM pg_authid WHERE rolname = 'corec_host'")
    empty = {"PATH": "/usr/bin", "COREC_HOST_PASSWORD": ""}
    subprocess.run(command, env=empty, check=True, capture_output=True)
    after = run(superuser, "SELECT rolpassword FROM pg_authid WHERE rolname = 'corec_host'")
    assert before == after
    run(superuser, "ALTER ROLE corec_host PASSWORD NULL")
    run(superuser, "ALTER ROLE alert_reader PASSWORD NULL")


async def test_all_of_the_plugins_work_goes_on_under_them(
    cluster: Cluster,
    world: World,
    server_of_discord: DiscordServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.setattr(alert_processor, "_START_WAIT", 1.0)
    monkeypatch.setattr(retention, "FIRST", 0.0)
    monkeypatch.setattr(retention, "INTERVAL", 0.1)
    owner = World(cluster.corec, cluster.alert, world.redis_url)
    app = cluster.as_role(cluster.alert, "alert_manager_app")
    tell(world, server_of_discord, None)
    world.alert_dsn, world.corec_dsn = app, cluster.as_role(cluster.corec, "corec_host")
    show_to_commands(world, monkeypatch, tmp_path)
    # The host hands over its own address: the plugin's goes before it.
    monkeypatch.setenv("ALERT_COREC_DB_DSN", cluster.as_role(cluster.corec, "alert_reader"))
    silence = ("silence", "add", "symbol=QUIET", "--for", "1h", "--reason", "r")

    def shell(*arguments: str) -> None:
        result = CliRunner().invoke(main, list(arguments))
        assert result.exit_code == 0, result.output

    async with world.running() as processor:
        await until_health_says(processor, "lector", "lee eventos")
        await asyncio.to_thread(shell, *silence, "--who", "ana")
        owner.write("macro_data", to_json({"vix_price": 25.0}))
        owner.write("trading_results", b"no es nada")  # a dead letter
        lose(owner, "BTC")
        lose(owner, "QUIET")
        await eventually(lambda: told(server_of_discord, "BTC"))
        await until_settled(owner, "BTC", "QUIET")
        owner.write("macro_data", to_json({"vix_price": 12.0}))
        await eventually(lambda: "resuelta" in {a["status"] for a in owner.alerts()})
        owner.write("alert_data", to_json({"action": "update_threshold", "loss_threshold": 120}))
        changes = "SELECT new_value FROM threshold_changes"
        await eventually(lambda: owner.alert(changes) == [(120,)])
        ids = {a["event_data"].get("symbol"): a["id"] for a in owner.alerts()}
        await asyncio.to_thread(shell, "ack", str(ids["BTC"]), "--who", "ana")
        await asyncio.to_thread(shell, "resolve", str(ids["QUIET"]), "--who", "ana")
        await asyncio.to_thread(shell, "backtest", "--since", "1h")
        await asyncio.to_thread(shell, "thresholds", "set", "vix", "21", "--who", "ana")
        await asyncio.to_thread(shell, "stats")
        retried = await asyncio.to_thread(CliRunner().invoke, main, ["dead-letters", "retry", "1"])
        assert "JSON inválido" in retried.output  # it was read and judged again
        reports = "SELECT count(*) FROM eventos WHERE canal = 'alert_data' AND datos <> ''"
        await eventually(lambda: owner.corec(reports)[0][0] >= 4)
        owner.alert(
            "UPDATE alerts SET created_at = 'epoch', last_seen = 1, resolved_at = 1"
            " WHERE status = 'resuelta'"
        )
        owner.alert("UPDATE alert_history SET at = 'epoch'")
        await eventually(lambda: "resuelta" not in {a["status"] for a in owner.alerts()})
        # alert_db goes away, people are told all the same, and it is stored once it is back.
        name = parse_dsn(app)["dbname"]
        owner.alert(f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC")
        run(
            cluster.as_role(cluster.alert, "postgres"),
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE usename = 'alert_manager_app'",
        )
        lose(owner, "DURING")
        await eventually(lambda: told(server_of_discord, "DURING"), 15.0)
        assert "DURING" not in [a["event_data"].get("symbol") for a in owner.alerts()]
        owner.alert(f"GRANT CONNECT ON DATABASE {name} TO PUBLIC")
        await until_settled(owner, "BTC", "DURING")
        assert len(told(server_of_discord, "DURING")) == 1
        for part in ("corec_db", "alert_db", "lector"):
            await until_health_says(processor, part, "lee eventos" if part == "lector" else "ok")
    letters = owner.alert("SELECT channel FROM dead_letters")
    assert letters == [("trading_results",)]


@pytest.fixture
async def server_of_discord() -> Any:
    async with DiscordServer() as running:
        yield running


async def test_the_host_works_by_its_own(cluster: Cluster) -> None:
    database = Database(parse_dsn(cluster.as_role(cluster.corec, "corec_host")))
    store = CorecStore(database)
    try:
        assert await store.ensure_schema() == ()
        await store.insert_event("alertas", "{}", "corec1", time.time())
        written: list[int] = []
        await store.publish("n", "alert_data", "{}", "corec1", written.append)
        assert await store.last_published("n", "alert_data", "corec1") == written[0]
        assert (await store.newest_event("alert_data", 0, []) or {})["id"] == written[0]
        await store.record_error("error", "x", "corec1")
        assert await store.count_errors(60) == 1
        await store.heartbeat("corec1", [Heartbeat("n", 0.0, False, None)])
        await ModuloSincronizacion(store, ModuloRegistro(), "corec1", silent_seconds=0.0).paso()
        assert run(cluster.corec, "TABLE nodos") == []
    finally:
        await database.close()


async def test_a_role_that_may_not_make_the_tables_says_what_to_run(
    cluster: Cluster, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    run(cluster.alert, "DROP OWNED BY alert_user")
    world.alert_dsn = cluster.as_role(cluster.alert, "alert_manager_app")
    async with world.running() as processor:
        await until_health_says(processor, "lector", "su dueño ejecuta: psql -d alert_db -f")
        server_apply = cluster.server.apply
        await asyncio.to_thread(server_apply, cluster.alert, SCHEMA)
        await until_health_says(processor, "lector", "los permisos de este rol los da roles.sql")
        await asyncio.to_thread(cluster.apply_roles, cluster.alert, ALERT_ROLES)
        await until_health_says(processor, "lector", "lee eventos")
        world.write("alertas", event("a"))
        await eventually(lambda: run(cluster.alert, "SELECT count(*) FROM alerts") == [(1,)])


async def test_the_reader_sees_the_locks_of_writers_of_other_roles(
    cluster: Cluster, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hole that is a writer's is waited for, whoever the writer is."""
    world.corec_dsn, world.alert_dsn = cluster.corec, cluster.alert
    monkeypatch.setenv("ALERT_COREC_DB_DSN", cluster.as_role(cluster.corec, "alert_reader"))
    sql = "INSERT INTO eventos (canal, datos, timestamp) VALUES ('alertas', %s, %s)"
    async with world.running():
        with psycopg2.connect(cluster.as_role(cluster.corec, "corec_host")) as slow:
            slow.cursor().execute(sql, (event("late"), time.time()))
            world.write("alertas", event("early"))
            await eventually(lambda: len(world.alerts()) == 1)
            holes = "SELECT position->'holes' FROM reader_positions WHERE source = 'eventos'"
            await eventually(lambda: world.alert(holes)[0][0])
            slow.commit()
            await eventually(lambda: len(world.alerts()) == 2)
        slow.close()
    assert json.dumps([a["event_data"]["plugin"] for a in world.alerts()]) == '["early", "late"]'
