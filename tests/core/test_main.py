"""main.py as a process of its own, as start.sh and the container run it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from src.utils.config import PROJECT_ROOT
from tests.core.helpers import GOOD_PLUGIN, PluginFolder, query, until, write_config

NODES = "SELECT nodo_id, instance_id FROM nodos ORDER BY 1"
ALERT_PLUGIN: dict[str, Any] = {"channels": ["alert_data"], "critical": True}
NOBODY = "postgresql://u:s3creto@127.0.0.1:1/nada"


@dataclass
class Host:
    """A running main.py and what it wrote."""

    process: subprocess.Popen[bytes]
    log: Path
    stderr: Path

    def logged(self, text: str) -> bool:
        if self.process.poll() is not None and text not in self.text():
            pytest.fail(f"ended with {self.process.returncode}: {self.text()}")
        return text in self.text()

    def text(self) -> str:
        log = self.log.read_text(encoding="utf-8") if self.log.exists() else ""
        return log + self.stderr.read_text(encoding="utf-8")

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal; the exit code and the seconds that it took."""
        started = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(20), time.monotonic() - started


Run = Callable[..., Host]


@pytest.fixture
def run(
    tmp_path: Path, plugin_folder: PluginFolder, corec_dsn: str, redis_url: str
) -> Iterator[Run]:
    hosts: list[Host] = []

    def start(*arguments: str, env: dict[str, str] | None = None, **settings: Any) -> Host:
        folder = tmp_path / f"host{len(hosts)}"
        folder.mkdir()
        path, log, stderr = (folder / name for name in ("corec.yaml", "logs/corec.log", "stderr"))
        write_config(path, **{"plugins_dir": str(plugin_folder.path), **settings})
        environ = {key: value for key, value in os.environ.items() if key != "INSTANCE_ID"}
        environ.update(COREC_DB_DSN=corec_dsn, REDIS_URL=redis_url, COREC_LOG_FILE=str(log))
        environ.update(env or {})
        with stderr.open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, str(PROJECT_ROOT / "main.py"), "--config", str(path), *arguments],
                cwd=tmp_path,
                env=environ,
                stdout=subprocess.DEVNULL,
                stderr=output,
            )
        hosts.append(Host(process, log, stderr))
        return hosts[-1]

    yield start
    for host in hosts:
        if host.process.poll() is None:
            host.process.kill()
            host.process.wait(10)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_runs_the_alert_entity_with_its_mirror_until_a_signal(
    run: Run, plugin_folder: PluginFolder, corec_dsn: str, number: int
) -> None:
    plugin_folder.add("avisos", GOOD_PLUGIN, **ALERT_PLUGIN)
    host = run()
    await until(lambda: host.logged("CoreC corec1 listo"))
    expected = [("espejo_nano_alert_corec1", "corec1"), ("nano_alert_corec1", "corec1")]
    await until(lambda: query(corec_dsn, NODES) == expected)
    code, seconds = host.stop(number)
    assert (code, seconds < 5) == (0, True)
    assert "CoreC corec1 detenido" in host.text()
    assert host.stderr.read_text(encoding="utf-8") == ""
    assert "ERROR" not in host.text()


async def test_flag_over_environment_over_file(run: Run, corec_dsn: str) -> None:
    host = run(instance_id="archivo", env={"INSTANCE_ID": "entorno"})
    await until(lambda: host.logged("CoreC entorno listo"))
    assert host.stop()[0] == 0
    host = run("--instance-id", "opcion", instance_id="archivo", env={"INSTANCE_ID": "entorno"})
    await until(lambda: host.logged("CoreC opcion listo"))
    await until(lambda: ("nano_alert_opcion", "opcion") in query(corec_dsn, NODES))
    assert host.stop()[0] == 0


@pytest.mark.parametrize("to_file", [True, False])
async def test_a_wrong_plugin_configuration_ends_with_2_and_its_path(
    run: Run, plugin_folder: PluginFolder, to_file: bool
) -> None:
    fault = "alert_config.umbral: clave desconocida; se permite: thresholds"
    broken = GOOD_PLUGIN.replace("self.calls = []", f"raise ValueError({fault!r})")
    plugin_folder.add("avisos", broken, **ALERT_PLUGIN)
    host = run(env={} if to_file else {"COREC_LOG_FILE": ""})
    assert host.process.wait(20) == 2
    assert fault in host.stderr.read_text(encoding="utf-8")
    assert not to_file or fault in host.log.read_text(encoding="utf-8")
    assert "Traceback" not in host.text()


async def test_a_wrong_host_configuration_ends_with_2_and_its_path(run: Run) -> None:
    host = run(colour="red")
    assert host.process.wait(20) == 2
    assert "colour: clave desconocida; se permite:" in host.stderr.read_text(encoding="utf-8")
    assert "Traceback" not in host.text()
    host = run(env={"COREC_LOG_LEVEL": "ruido"})
    assert host.process.wait(20) == 2
    assert "COREC_LOG_LEVEL" in host.stderr.read_text(encoding="utf-8")


async def test_another_fault_of_a_critical_plugin_does_not_stop_the_start(
    run: Run, plugin_folder: PluginFolder
) -> None:
    broken = GOOD_PLUGIN.replace("self.calls = []", "raise KeyError('uy')")
    plugin_folder.add("avisos", broken, **ALERT_PLUGIN)
    host = run()
    await until(lambda: host.logged("CoreC corec1 listo"))
    assert "plugin avisos no se carga: KeyError: 'uy'" in host.text()
    assert "ningún plugin atiende el canal alert_data" in host.text()
    assert host.stop()[0] == 0


async def test_starts_without_redis_and_without_corec_db(
    run: Run, plugin_folder: PluginFolder
) -> None:
    plugin_folder.add("avisos", GOOD_PLUGIN, **ALERT_PLUGIN)
    host = run(env={"COREC_DB_DSN": NOBODY, "REDIS_URL": "redis://:s3creto@127.0.0.1:1"})
    await until(lambda: host.logged("CoreC corec1 listo"))
    assert "Redis no responde" in host.text()
    assert "corec_db no responde" in host.text()
    code, seconds = host.stop()
    assert (code, seconds < 10) == (0, True)
    assert "s3creto" not in host.text()


async def test_a_signal_during_the_start_stops_it(run: Run, plugin_folder: PluginFolder) -> None:
    slow = GOOD_PLUGIN.replace(
        'self.calls.append(("inicializar", nucleus))',
        "import asyncio, logging; logging.error('lento empieza'); await asyncio.sleep(60)",
    ).replace(
        'self.calls.append(("detener", None))',
        "import logging; await self.given[1].ping(); logging.error('lento detenido')",
    )
    plugin_folder.add("lento", slow)
    host = run(env={"COREC_DB_DSN": NOBODY}, db_wait_seconds=300)
    await until(lambda: host.logged("corec_db: intento 1 fallido"))
    code, seconds = host.stop()
    assert (code, seconds < 5) == (0, True)
    host = run()
    await until(lambda: host.logged("lento empieza"))
    code, seconds = host.stop()
    assert (code, seconds < 5) == (0, True)
    # What was half started is stopped too, and before what it works with.
    ends = [host.text().rindex(text) for text in ("lento detenido", "CoreC corec1 detenido")]
    assert ends == sorted(ends)


async def test_a_second_signal_does_not_break_the_stop(
    run: Run, plugin_folder: PluginFolder
) -> None:
    slow = GOOD_PLUGIN.replace(
        'self.calls.append(("detener", None))',
        "import asyncio, logging; await asyncio.sleep(1); logging.error('lento detenido')",
    )
    plugin_folder.add("lento", slow)
    host = run()
    await until(lambda: host.logged("CoreC corec1 listo"))
    host.process.send_signal(signal.SIGTERM)
    await until(lambda: host.logged("SIGTERM: se detiene CoreC"))
    host.process.send_signal(signal.SIGINT)
    code, seconds = host.stop()
    assert (code, seconds < 5) == (0, True)
    assert "lento detenido" in host.text()
    assert "CoreC corec1 detenido" in host.text()
    assert host.stderr.read_text(encoding="utf-8") == ""


async def test_a_thread_that_never_ends_does_not_keep_the_process(
    run: Run, plugin_folder: PluginFolder
) -> None:
    stuck = GOOD_PLUGIN.replace(
        'self.calls.append(("inicializar", nucleus))',
        "import threading, time;"
        "threading.Thread(target=time.sleep, args=(60,), name='terco').start()",
    )
    plugin_folder.add("hilo", stuck)
    host = run()
    await until(lambda: host.logged("CoreC corec1 listo"))
    code, seconds = host.stop()
    assert (code, seconds < 10) == (3, True)
    assert re.search("parada forzada: .* no terminó: el hilo terco, en .*threading.py", host.text())


async def test_a_thread_that_ends_soon_is_waited_for(run: Run, plugin_folder: PluginFolder) -> None:
    busy = GOOD_PLUGIN.replace(
        'self.calls.append(("detener", None))',
        "import threading, time; threading.Thread(target=time.sleep, args=(2,)).start()",
    )
    plugin_folder.add("hilo", busy)
    host = run()
    await until(lambda: host.logged("CoreC corec1 listo"))
    assert host.stop()[0] == 0
    assert "parada forzada" not in host.text()


STEP = "return {}"
END = 'self.calls.append(("detener", None))'
# What the plugin does where, and what the log says of it.
BLOCKS = {
    "sleep": (STEP, "import time; time.sleep(60)", r"bloqueado en .*/code\.py:\d+ procesar"),
    "end": (
        END,
        "import time; time.sleep(60)",
        r"bloqueado en .*/code\.py:\d+ detener; las tareas",
    ),
    # Inside libpq: Python can't run a signal handler.
    "query": (
        STEP,
        "import psycopg2 as p; p.connect(**self.given[2]).cursor().execute('SELECT pg_sleep(14)')",
        r"bloqueado en .*/code\.py:\d+ procesar",
    ),
    # Keeps the GIL: no thread of Python's runs.
    "gil": (END, "import ctypes; ctypes.PyDLL(None).sleep(60)", r"code\.py.* in detener"),
    "executor": (
        END,
        "import asyncio, time; asyncio.get_running_loop().run_in_executor(None, time.sleep, 60)",
        r"no terminó: .*el hilo asyncio_0",
    ),
    "deaf": (
        END,
        "import asyncio, time; asyncio.create_task(self.deaf(), name='sorda')",
        r"las tareas .*sorda",
    ),
}
DEAF = """
        async def deaf(self):
            while True:
                try:
                    await asyncio.sleep(60)
                except asyncio.CancelledError:
                    pass
"""


@pytest.mark.long
async def test_whatever_blocks_the_end_comes_in_time_and_the_log_says_what_it_was(
    run: Run, tmp_path: Path
) -> None:
    hosts: dict[str, Host] = {}
    for kind, (place, code, _) in BLOCKS.items():
        (tmp_path / kind).mkdir()
        folder = PluginFolder(tmp_path / kind)
        folder.add(
            "bloquea", f"    import asyncio{GOOD_PLUGIN.replace(place, code)}{DEAF}", **ALERT_PLUGIN
        )
        hosts[kind] = run("--instance-id", kind, plugins_dir=str(folder.path))
    for kind, host in hosts.items():
        await until(lambda host=host, kind=kind: host.logged(f"CoreC {kind} listo"))  # type: ignore[misc]
    await asyncio.sleep(1)  # by then they have taken their first step
    started = {kind: time.monotonic() for kind in hosts}
    for host in hosts.values():
        host.process.send_signal(signal.SIGTERM)
    for kind, host in hosts.items():
        ended = await asyncio.to_thread(host.process.wait, 20)
        assert time.monotonic() - started[kind] < 10, kind
        assert ended == (1 if kind == "gil" else 3), kind
        assert re.search(BLOCKS[kind][2], host.text(), re.S), (kind, host.text())


async def test_tells_who_started_it_which_plugins_run(
    run: Run, plugin_folder: PluginFolder, tmp_path: Path
) -> None:
    plugin_folder.add("bueno", GOOD_PLUGIN)
    plugin_folder.add("roto", "import no_existe_xyz", critical=True)
    state = tmp_path / "state"
    host = run(env={"COREC_STATE_FILE": str(state)})
    await until(state.exists)
    assert json.loads(state.read_text(encoding="utf-8")) == {
        "pid": host.process.pid,
        "instance_id": "corec1",
        "plugins": ["bueno"],
        "fallos": {
            "roto": "no se puede importar roto.code: "
            "ModuleNotFoundError: No module named 'no_existe_xyz'"
        },
    }
    assert host.stop()[0] == 0
    assert [path for path in tmp_path.iterdir() if "state" in path.name] == [state]  # noqa: ASYNC240


async def test_a_state_file_that_cannot_be_written_is_told_and_no_more(run: Run) -> None:
    host = run(env={"COREC_STATE_FILE": "/no/existe/state"})
    await until(lambda: host.logged("CoreC corec1 listo"))
    assert "COREC_STATE_FILE: no se puede escribir /no/existe/state" in host.text()
    assert host.stop()[0] == 0
