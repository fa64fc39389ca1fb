"""`alerts.sh doctor` finds each planted fault, says how to mend it, and sends nothing."""

from __future__ import annotations

import asyncio
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from psycopg2.extensions import parse_dsn

from src.plugins.alert_manager.cli.doctor import machine
from src.plugins.alert_manager.cli.doctor.databases import check_redis
from src.plugins.alert_manager.cli.doctor.finding import State
from src.plugins.alert_manager.cli.doctor.machine import check_python
from src.plugins.alert_manager.cli.main import main
from src.plugins.alert_manager.utils.schema import SCHEMA_VERSION
from tests.plugins.conftest import PROJECT, SCHEMA, World, show_to_commands
from tests.plugins.test_delivery import tell
from tests.support.discord import GONE, TOKEN, Answer, DiscordServer
from tests.support.smtp import SmtpServer

Found = list[tuple[str, str, str, str]]
"""Of each finding: part, state, what was found, what to do."""


async def doctor(*arguments: str) -> Result:
    """Beside the loop of the test, in which servers run."""
    return await asyncio.to_thread(CliRunner().invoke, main, ["doctor", *arguments])


async def found(state: str = "fallo") -> Found:
    result = await doctor("--json")
    rows = json.loads(result.stdout)
    assert result.exit_code == (1 if any(row["state"] == "fallo" for row in rows) else 0)
    return [tuple(row.values()) for row in rows if row["state"] == state]


def settle(world: World, monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Writes the settings to a file that others cannot read."""
    show_to_commands(world, monkeypatch, folder)
    (folder / "alert_manager.yaml").chmod(0o600)


@pytest.fixture
def well(world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> World:
    """All that CoreC needs, and nothing wrong with it."""
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    monkeypatch.setenv("REDIS_URL", world.redis_url)
    world.alert(SCHEMA.read_text(encoding="utf-8"))
    settle(world, monkeypatch, tmp_path)
    return world


async def test_nothing_is_wrong(well: World) -> None:
    async with well.running():
        assert await found() == []
        text = (await doctor()).output
    assert "✓ Python" in text
    assert "✓ corec_db: PostgreSQL" in text
    assert "✓ CoreC: en marcha y sano" in text
    assert "solo está activo el log" in text  # as shipped
    assert text.splitlines()[-1].startswith("0 fallos, ")


async def test_an_old_python(well: World, monkeypatch: pytest.MonkeyPatch) -> None:
    version = (sys.version_info[0], sys.version_info[1] + 1)
    monkeypatch.setattr(machine, "MINIMUM", version)  # as if ours were the one before
    [(part, _, said, mend)] = await found()
    assert part == "Python"
    assert said.endswith(f"se espera {version[0]}.{version[1]} o más nuevo")
    assert "apt install python3" in mend
    monkeypatch.undo()
    assert check_python((3, 10)).said == "se encontró 3.10; se espera 3.11 o más nuevo"


async def test_a_library_that_is_missing(
    well: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    manifest = tmp_path / "plugin.json"
    names = {"dependencies": ["psycopg2-binary", "no-existe-esta"]}
    manifest.write_text(json.dumps(names), encoding="utf-8")
    monkeypatch.setattr(machine, "_MANIFEST", manifest)
    [(part, _, said, mend)] = await found()
    assert (part, said) == ("bibliotecas", "faltan: no-existe-esta")
    assert "requirements.txt" in mend


def test_the_manifest_names_every_library() -> None:
    lines = (PROJECT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    wanted = {line.split(">=")[0].lower() for line in lines if line and line[0] != "#"}
    manifest = json.loads(machine._MANIFEST.read_text(encoding="utf-8"))
    assert {name.lower() for name in manifest["dependencies"]} == wanted


@pytest.mark.parametrize(
    ("free", "state"), [(5 << 30, "bien"), (500 << 20, "aviso"), (5 << 20, "fallo")]
)
async def test_a_full_disk(
    well: World, monkeypatch: pytest.MonkeyPatch, free: int, state: str
) -> None:
    # No file system of a test can be filled up: what is asked of this one is answered otherwise.
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: real(folder)._replace(free=free))
    [(said, mend)] = [(said, mend) for part, _, said, mend in await found(state) if part == "disco"]
    assert said.startswith(f"quedan {free / (1 << 30):.1f} GiB en ")
    assert ("libera sitio" in mend) is (state != "bien")


def test_the_version_is_that_of_the_schema() -> None:
    assert f"'alert_manager: {SCHEMA_VERSION}'" in SCHEMA.read_text(encoding="utf-8")


async def test_a_folder_that_others_may_change(well: World, tmp_path: Path) -> None:
    (tmp_path / "home").chmod(0o777)
    [(part, _, said, mend)] = await found()
    assert part.startswith("carpeta ")
    assert "modo 0777" in said
    assert mend.startswith("chmod 700")


async def test_a_secret_that_others_may_read(
    well: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    secret = tmp_path / "clave"
    secret.write_text("correct-horse", encoding="utf-8")
    secret.chmod(0o644)
    well.config["notification_config"]["email"]["password"] = f"file:{secret}"
    settle(well, monkeypatch, tmp_path)
    [(part, _, said, mend)] = await found()
    assert (part, mend) == ("secretos", f"chmod 600 '{secret}'")
    assert "modo 0644" in said
    secret.chmod(0o600)
    assert await found() == []
    secret.unlink()
    assert [(part, "no se puede leer" in said) for part, _, said, _ in await found()] == [
        ("secretos", True),
        ("configuración", True),
    ]


async def test_a_secret_in_a_file_of_settings_that_others_may_read(
    well: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    well.config["notification_config"]["email"]["password"] = "correct-horse"
    settle(well, monkeypatch, tmp_path)
    assert await found() == []
    (tmp_path / "alert_manager.yaml").chmod(0o644)
    [(part, _, said, _)] = await found()
    assert part == "secretos"
    assert "alert_manager.yaml tiene un secreto" in said
    assert "correct-horse" not in (await doctor()).output


async def test_settings_that_are_not_valid(
    well: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    well.config["alert_config"]["thresholds"]["vix"] = "veinte"
    settle(well, monkeypatch, tmp_path)
    assert ("configuración", "check-config") in [
        (part, mend.rsplit(" ", 1)[-1]) for part, _, _, mend in await found()
    ]


@pytest.mark.parametrize(
    ("variable", "part"), [("COREC_DB_DSN", "corec_db"), ("ALERT_DB_DSN", "alert_db")]
)
async def test_a_database_that_is_away(
    well: World, monkeypatch: pytest.MonkeyPatch, variable: str, part: str
) -> None:
    monkeypatch.setenv(variable, "postgresql://x:clave-secreta@127.0.0.1:1/x")
    [(where, _, said, mend)] = await found()
    assert (where, said.split(":")[0]) == (part, "no responde")
    assert "./scripts/start.sh" in mend
    assert "clave-secreta" not in (await doctor()).output


def rename(table: str) -> Callable[[World], Any]:
    return lambda world: world.corec(f"ALTER TABLE {table} RENAME TO later")


@pytest.mark.parametrize(
    ("plant", "state", "part", "expected"),
    [
        (rename("eventos"), "fallo", "corec_db", "no tiene la tabla eventos"),
        (
            lambda w: w.corec("DROP TRIGGER corec_avisar_eventos ON eventos"),
            "aviso",
            "corec_db",
            "falta el aviso que despierta al lector",
        ),
        (
            lambda w: w.corec("ALTER SEQUENCE eventos_id_seq CACHE 50"),
            "aviso",
            "corec_db",
            "reparte 50 ids de una vez",
        ),
        (
            lambda w: w.alert("DROP TABLE alerts CASCADE"),
            "fallo",
            "alert_db",
            "no tiene sus tablas",
        ),
        (
            lambda w: w.alert("COMMENT ON TABLE alerts IS 'alert_manager: 3'"),
            "fallo",
            "alert_db",
            f"esquema 3; se espera {SCHEMA_VERSION}",
        ),
        (
            lambda w: w.alert("COMMENT ON TABLE alerts IS NULL"),
            "fallo",
            "alert_db",
            f"esquema 0; se espera {SCHEMA_VERSION}",
        ),
        (
            lambda w: w.alert(
                "INSERT INTO dead_letters (source, channel, reason, size, timestamp)"
                " VALUES ('eventos', 'alertas', 'no se entiende', 1, 1)"
            ),
            "aviso",
            "eventos",
            "1 evento apartado en un día",
        ),
        (
            lambda w: w.alert(
                "WITH a AS (INSERT INTO alerts (severity, message, channel, timestamp)"
                " VALUES ('alta', 'm', 'c', 1) RETURNING id)"
                " INSERT INTO notifications (alert_id, channel, severity, status, finished_at)"
                " SELECT id, 'discord', 3, 'dead', now() FROM a"
            ),
            "aviso",
            "canal discord",
            "1 aviso abandonado en un día",
        ),
        (
            lambda w: w.alert(
                "INSERT INTO reader_positions (source, position, caught_up) VALUES"
                " ('eventos', '{}', extract(epoch FROM now()) - 7800)"
            ),
            "fallo",
            "lectura de eventos",
            "va 2 h 10 min por detrás",  # of which the seconds that it took to ask are no part
        ),
    ],
)
async def test_what_is_wrong_in_a_database(
    well: World, plant: Callable[[World], Any], state: str, part: str, expected: str
) -> None:
    plant(well)
    findings = [(where, said) for where, _, said, mend in await found(state) if mend]
    assert any(where == part and expected in said for where, said in findings), findings


@pytest.mark.parametrize(
    ("database", "right", "expected"),
    [
        ("corec", "eventos", "no puede leer eventos (SELECT) ni publicar reportes (INSERT)"),
        ("corec", "SEQUENCE eventos_id_seq", "no puede publicar reportes (INSERT)"),
        (
            "alert",
            "alerts",
            "no puede DELETE en alerts ni INSERT en alerts ni SELECT en alerts ni UPDATE en alerts",
        ),
        ("alert", "SEQUENCE deliveries_id_seq", "no puede USAGE en deliveries"),
    ],
)
async def test_a_role_that_may_not(
    well: World, monkeypatch: pytest.MonkeyPatch, database: str, right: str, expected: str
) -> None:
    ask = well.corec if database == "corec" else well.alert
    dsn = well.corec_dsn if database == "corec" else well.alert_dsn
    ask(f"REVOKE ALL ON {right} FROM CURRENT_USER")
    try:
        [(part, _, said, mend)] = await found()
    finally:
        ask(f"GRANT ALL ON {right} TO CURRENT_USER")
    assert part == f"{database}_db"
    assert said == f"el rol {parse_dsn(dsn)['user']} {expected}"
    assert "roles.sql" in mend


async def test_clocks_that_differ(well: World, monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() + 3600)
    parts = [part for part, *_ in await found()]
    assert {"reloj de corec_db", "reloj de alert_db"} <= set(parts)


async def test_a_redis_that_is_away(well: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_URL", "redis://:clave-secreta@127.0.0.1:1/0")
    assert ("Redis", "no responde: ConnectionError") in [
        (part, said) for part, _, said, _ in await found("aviso")
    ]
    assert "clave-secreta" not in (await doctor()).output
    assert check_redis(None).state is State.WARNING


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ({"EHLO": "250 smtp.example"}, "no ofrece STARTTLS"),
        ({}, "no acepta el usuario o la contraseña"),
    ],
)
async def test_a_mail_server_that_would_take_no_mail(
    well: World,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    answers: dict[str, str],
    expected: str,
) -> None:
    async with SmtpServer(tls="starttls", login=("corec@example.com", "otra-clave")) as smtp:
        smtp.answers |= answers
        tell(well, None, smtp)
        well.config["notification_config"]["email"] |= {
            "tls": "starttls",
            "ca_file": str(smtp.ca_file),
            "password": "${SMTP_PASSWORD}",
        }
        monkeypatch.setenv("SMTP_PASSWORD", "correct-horse")
        settle(well, monkeypatch, tmp_path)
        [(part, _, said, mend)] = await found()
        assert smtp.messages == []
    assert part == "canal email"
    assert expected in said
    assert "test-notify email" in mend


async def test_a_mail_server_that_would(
    well: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with SmtpServer() as smtp:
        tell(well, None, smtp)
        settle(well, monkeypatch, tmp_path)
        assert await found() == []
        assert smtp.messages == []
    assert [part for part, *_ in await found()] == ["canal email"]  # it is gone


async def test_a_webhook_of_discord(
    well: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with DiscordServer() as discord:
        tell(well, discord, None)
        settle(well, monkeypatch, tmp_path)
        discord.script.append(Answer(200, {"id": "1", "type": 1}))
        assert await found() == []
        discord.always = GONE
        [(part, _, said, _)] = await found()
        assert discord.messages == []
    assert (part, "404" in said) == ("canal discord", True)
    assert TOKEN not in said


async def test_a_webhook_whose_server_is_away(
    well: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    async with DiscordServer() as server:
        well.config["notification_channels"].append("casa")
        well.config["notification_config"]["casa"] = {"type": "webhook", "url": server.webhook_url}
        settle(well, monkeypatch, tmp_path)
        assert await found() == []
        assert server.requests == []  # any request might be an alert to it
        await asyncio.sleep(0.2)  # until the server has heard that we are gone
    [(part, _, said, _)] = await found()
    assert part == "canal casa"
    assert "rechaza la conexión" in said


async def test_another_program_on_the_port(well: World, tmp_path: Path) -> None:
    async with DiscordServer() as other:
        (tmp_path / "home" / "http.port").write_text(f"{other.port}\n", encoding="utf-8")
        [(part, _, said, mend)] = await found()
    assert part == "CoreC"
    assert "¿usa ese puerto otro programa?" in said
    assert "COREC_HTTP_PORT" in mend


async def test_a_part_of_a_running_corec_that_does_not_work(well: World) -> None:
    async with well.running():
        well.corec("ALTER TABLE eventos RENAME TO later")

        async def reader() -> bool:
            return any(part.startswith("CoreC: lector") for part, *_ in await found())

        for _ in range(60):
            if await reader():
                break
            await asyncio.sleep(0.5)
        assert await reader()
