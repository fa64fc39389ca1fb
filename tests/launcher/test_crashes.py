"""Parts that die, and pid files that lie: start.sh and stop.sh after them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from src.launcher.processes import start_mark, wait_until
from tests.launcher.project import Project

pytestmark = pytest.mark.e2e

_ENDLESS = "SELECT count(*) FROM generate_series(1, 1e12)"


def test_everything_killed_and_started_again(project: Project) -> None:
    project.run("start.sh")
    project.sql("corec_db", "INSERT INTO auditoria (evento_id) VALUES ('kept')")
    for process in psutil.process_iter():
        if project.owns(process):
            process.kill()
    assert wait_until(lambda: project.living() == [], 10)

    assert "limpio su pid antiguo" in project.run("start.sh")
    assert project.sql("corec_db", "SELECT evento_id FROM auditoria") == "kept"


def test_pids_that_strangers_have_by_now_are_not_believed(project: Project) -> None:
    """After a reboot the remembered pids may belong to anybody, here to this test."""
    project.run("start.sh")
    project.run("stop.sh")
    stranger = json.dumps({"pid": os.getpid(), "started": "another boot/1"})
    (project.home / "run/instances/corec1.json").write_text(stranger)
    (project.home / "run/redis.json").write_text(stranger)
    lock = f"{os.getpid()}\n{project.home}/data/postgres\n1\n5432\n/nowhere\n\n0 0\nready\n"
    (project.home / "data/postgres/postmaster.pid").write_text(lock)

    assert "No hay nada en marcha." in project.run("stop.sh")
    assert "en marcha y sano" in project.run("start.sh")
    assert "Todo detenido." in project.run("stop.sh")


def test_servers_whose_pid_file_was_lost_are_taken_over(project: Project) -> None:
    project.run("start.sh")
    project.run("stop.sh", "--instance", "corec1")
    (project.home / "run/redis.json").unlink()
    before = project.living()
    assert len(before) >= 2

    project.run("start.sh")
    redis = json.loads((project.home / "run/redis.json").read_text())
    assert str(project.home / "run/redis.sock") in psutil.Process(redis["pid"]).cmdline()


@pytest.mark.parametrize("name", ["PostgreSQL", "Redis", "CoreC"])
def test_one_part_killed_and_started_again(project: Project, name: str) -> None:
    project.run("start.sh")
    parts = {"PostgreSQL": project.postmaster, "Redis": project.redis, "CoreC": project.host}
    killed = parts.pop(name)
    killed.kill()
    assert wait_until(lambda: not _lives(killed), 10)

    told = project.run("start.sh")
    assert f"{name}: en marcha." in told if name != "CoreC" else "limpio su pid" in told
    assert "sano" in told
    assert all(map(_lives, parts.values()))  # nothing else was disturbed
    project.run("simulate.sh")
    count = "SELECT count(*) FROM alerts"
    assert wait_until(lambda: project.sql("alert_db", count) == "5", 20)


def _lives(process: psutil.Process) -> bool:
    """Whether it works: one that was ended stays as a zombie where nobody reaps orphans."""
    return start_mark(process.pid) is not None


@pytest.fixture
def busy(project: Project) -> Iterator[subprocess.Popen[str]]:
    """A CoreC whose database has been given a statement without an end."""
    project.run("start.sh")
    with project.popen("psql.sh", "corec_db", "-c", _ENDLESS) as psql:
        count = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%1e12%'"
        assert wait_until(lambda: project.sql("corec_db", count) == "2", 20)  # the question, too
        yield psql
        psql.kill()


@pytest.mark.usefixtures("busy")
def test_a_long_statement_of_a_killed_server_does_not_stop_the_next(project: Project) -> None:
    project.postmaster.kill()
    assert "sigue en marcha y sano" in project.run("start.sh")


def test_a_stop_ends_what_a_killed_server_left(
    project: Project, busy: subprocess.Popen[str]
) -> None:
    project.postmaster.kill()
    project.redis.kill()
    project.run("stop.sh")
    busy.communicate(timeout=30)
    assert project.living() == []


def test_a_stop_without_any_pid_file_ends_everything(project: Project) -> None:
    project.run("start.sh")
    parts = (project.postmaster, project.redis, project.host)
    shutil.rmtree(project.home / "run")
    (project.home / "data/postgres/postmaster.pid").unlink()
    assert "Todo detenido." in project.run("stop.sh")
    assert not any(map(_lives, parts))


def test_a_start_without_the_pid_file_of_main_makes_no_second_one(project: Project) -> None:
    project.run("start.sh")
    host = project.host
    (project.home / "run/instances/corec1.json").unlink()
    assert "ya está en marcha y sano" in project.run("start.sh")
    assert project.host == host


def test_a_main_that_hangs_is_ended_by_force_and_the_servers_too(project: Project) -> None:
    project.run("start.sh")
    project.host.suspend()
    assert "terminado a la fuerza" in project.run("stop.sh")
    assert project.living() == []


def test_strangers_that_name_our_paths_are_never_killed(project: Project) -> None:
    """A pager, an editor or a backup may well have the paths of the servers on its command line."""
    data, socket = project.home / "data", project.home / "run/redis.sock"
    words = ("--dir", data / "redis", "--unixsocket", socket, "-D", data / "postgres.new")
    code = "import time; time.sleep(600)"
    strangers = [
        subprocess.Popen([sys.executable, "-c", code, *more])
        for more in (words, ("-D", data / "postgres"), (socket, data / "postgres"))
    ]
    try:
        project.run("start.sh")
        redis = project.redis
        (project.home / "run/redis.json").unlink()
        project.run("stop.sh")
        assert not _lives(redis)
        # The pid of a server that died long ago, by now a stranger's.
        for stranger in strangers:
            lock = f"{stranger.pid}\n{data}/postgres\n1\n5432\n/nowhere\n\n0 0\nready\n"
            (data / "postgres/postmaster.pid").write_text(lock)
            assert "No hay nada en marcha." in project.run("stop.sh")
        assert [stranger.poll() for stranger in strangers] == [None] * len(strangers)
    finally:
        for stranger in strangers:
            stranger.kill()
            stranger.wait()
