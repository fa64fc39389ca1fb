from __future__ import annotations

from pathlib import Path

import pytest

from src.utils.config import DEFAULT_CONFIG, load_host_config, read_yaml
from src.utils.config_errors import ConfigError

DB = "db_config: {host: h, dbname: d, user: u, password: s3creto}\n"


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "corec.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_shipped_file_is_valid() -> None:
    config = load_host_config(DEFAULT_CONFIG, {})
    assert config.instance_id == "corec1"
    assert config.db_config == {
        "host": "localhost",
        "port": 5432,
        "dbname": "corec_db",
        "user": "corec_user",
    }
    assert config.canales_criticos == (
        "reparadora_acciones",
        "seguridad_alertas",
        "coordinacion_nodos",
    )
    assert config.plugins_dir == DEFAULT_CONFIG.parents[2] / "src" / "plugins"


def test_environment_wins_over_file_and_argument_over_both(tmp_path: Path) -> None:
    path = _write(tmp_path, DB + "instance_id: archivo\n")
    environ = {
        "COREC_DB_DSN": "postgresql://otro:clave@servidor:6543/base",
        "REDIS_URL": "redis://:pw@r:1/2",
        "INSTANCE_ID": "entorno",
    }
    assert load_host_config(path, {}).instance_id == "archivo"
    config = load_host_config(path, environ)
    assert config.instance_id == "entorno"
    assert config.db_config == {
        "user": "otro",
        "password": "clave",
        "host": "servidor",
        "port": "6543",
        "dbname": "base",
    }
    assert config.redis_url.get_secret_value() == "redis://:pw@r:1/2"
    assert load_host_config(path, environ, "argumento").instance_id == "argumento"


def test_empty_environment_values_count_as_unset(tmp_path: Path) -> None:
    path = _write(tmp_path, DB)
    config = load_host_config(path, {"COREC_DB_DSN": "", "REDIS_URL": "", "INSTANCE_ID": ""})
    assert (config.instance_id, config.db_config["host"]) == ("corec1", "h")


def test_interpolation(tmp_path: Path) -> None:
    path = _write(
        tmp_path,
        "db_config: {host: '${H}', port: '${P:-5433}', dbname: 'a_${N:-x}_b', user: '${E:-z}'}",
    )
    config = load_host_config(path, {"H": "srv", "N": "n", "E": ""})
    assert config.db_config == {"host": "srv", "port": 5433, "dbname": "a_n_b", "user": "z"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (DB + "colour: red", "colour: clave desconocida; se permite: canales_criticos, db_config"),
        ("db_config: {dbname: d, hots: x}", "db_config.hots: clave desconocida; se permite:"),
        ("db_config: {dbname: d, port: abc}", "db_config.port: se encontró 'abc'; se espera un nú"),
        ("db_config: {dbname: d, port: 70000}", "se encontró 70000; se espera un valor hasta 6553"),
        ("db_config: {dbname: d, sslmode: tal}", "se espera 'disable', 'allow', 'prefer'"),
        ("db_config: {host: h}", "db_config.dbname: falta; es obligatoria"),
        ("db_config: 5", "db_config: se encontró 5; se espera un grupo de claves"),
        ("instance_id: a", "db_config: falta; se espera la sección, o COREC_DB_DSN"),
        (DB + "instance_id: 'a b'", "instance_id: se encontró 'a b'; se espera letras"),
        (DB + "instance_id: " + "x" * 33, "de 1 a 32 caracteres"),
        (DB + "db_wait_seconds: -1", "db_wait_seconds: se encontró -1; se espera un valor desde 0"),
        (DB + "canales_criticos: uno", "canales_criticos: se encontró 'uno'; se espera una lista"),
        (DB + "canales_criticos: [7]", "canales_criticos[0]: se encontró 7; se espera un texto"),
        ("db_config: {dbname: '${NADA}'}", "db_config.dbname: la variable de entorno NADA no est"),
        (DB + "redis_config: {url: 'http://a:pw@b'}", "se espera una URL redis://, rediss:// o un"),
        ("a: [1", "no es YAML válido en la línea 1"),
        ("- 1", "se encontró list; se espera un grupo de claves"),
    ],
)
def test_every_fault_names_path_found_and_allowed(tmp_path: Path, text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_host_config(_write(tmp_path, text), {})
    assert expected in str(caught.value)
    assert "corec.yaml" in str(caught.value) or "variable de entorno" in str(caught.value)


def test_all_faults_at_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load_host_config(_write(tmp_path, "db_config: {host: 1, port: x}\nfoo: 1\n"), {})
    assert len(str(caught.value).splitlines()) == 4


def test_missing_file() -> None:
    with pytest.raises(ConfigError, match="no se puede leer"):
        load_host_config(Path("/no/existe.yaml"), {})


@pytest.mark.parametrize(
    ("text", "environ"),
    [
        ("db_config: {dbname: d, password: [s3creto]}", {}),
        ("db_config: {dbname: d, password: {a: s3creto}, x: 1}", {}),
        (DB + "redis_config: {url: 'ftp://u:s3creto@h'}", {}),
        (DB, {"REDIS_URL": "s3creto"}),
        (DB, {"COREC_DB_DSN": "postgresqlx://u:s3creto@h/d"}),
        (DB, {"COREC_DB_DSN": "host=h passwort=s3creto"}),
        ("db_config: {password: s3creto\n", {}),
    ],
)
def test_no_secret_in_a_fault(tmp_path: Path, text: str, environ: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        load_host_config(_write(tmp_path, text), environ)
    assert "s3creto" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_no_secret_when_printed(tmp_path: Path) -> None:
    environ = {"REDIS_URL": "redis://:s3creto@r"}
    config = load_host_config(_write(tmp_path, DB), environ)
    assert config.db_config["password"] == "s3creto"
    for shown in (repr(config), str(config.db_config), repr(config.as_dict())):
        assert "s3creto" not in shown


def test_empty_yaml_is_an_empty_mapping(tmp_path: Path) -> None:
    assert read_yaml(_write(tmp_path, "# nada\n")) == {}
