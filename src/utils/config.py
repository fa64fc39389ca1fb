"""The host's configuration: configs/core/corec.yaml, checked, with the environment on top."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

import psycopg2
import yaml
from psycopg2.extensions import parse_dsn
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator

from src.utils.config_errors import ConfigError, explain

PROJECT_ROOT = Path(__file__).resolve().parents[2]
DEFAULT_CONFIG = PROJECT_ROOT / "configs" / "core" / "corec.yaml"

DSN_ENV = "COREC_DB_DSN"
REDIS_ENV = "REDIS_URL"
INSTANCE_ENV = "INSTANCE_ID"

# "espejo_nano_alert_" and the instance id share the 50 characters of nodos.nodo_id.
_INSTANCE_PATTERN = r"^[A-Za-z0-9._-]{1,32}$"
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\}")
_SECRET_LIBPQ = frozenset({"password", "sslpassword", "passfile"})
_SSL_MODES = Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]
_Port = Annotated[int, Field(ge=1, le=65535)]


class SecretDict(dict[str, Any]):
    """libpq keywords for `psycopg2.connect(**db_config)` that don't print their password."""

    def __repr__(self) -> str:
        shown = {key: "***" if key in _SECRET_LIBPQ else value for key, value in self.items()}
        return repr(shown)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class _DatabaseSection(_Strict):
    dbname: str
    host: str | None = None
    port: _Port | None = None
    user: str | None = None
    password: SecretStr | None = None
    sslmode: _SSL_MODES | None = None
    sslrootcert: str | None = None
    options: str | None = None
    application_name: str | None = None
    connect_timeout: Annotated[int, Field(ge=1, le=60)] | None = None

    def libpq(self) -> SecretDict:
        params = SecretDict(self.model_dump(exclude_none=True, exclude={"password"}))
        if self.password is not None and self.password.get_secret_value():
            params["password"] = self.password.get_secret_value()
        return params


class _RedisSection(_Strict):
    url: SecretStr = SecretStr("redis://localhost:6379/0")

    @field_validator("url")
    @classmethod
    def _has_known_scheme(cls, value: SecretStr) -> SecretStr:
        if urlsplit(value.get_secret_value()).scheme not in {"redis", "rediss", "unix"}:
            raise ValueError("se espera una URL redis://, rediss:// o unix://")
        return value


class _HostFile(_Strict):
    instance_id: Annotated[str, Field(pattern=_INSTANCE_PATTERN)] = "corec1"
    db_config: _DatabaseSection | None = None
    redis_config: _RedisSection = _RedisSection()
    canales_criticos: tuple[Annotated[str, Field(min_length=1, max_length=50)], ...] = ()
    plugins_dir: str = "src/plugins"
    db_wait_seconds: Annotated[float, Field(ge=0, le=300)] = 30.0


@dataclass(frozen=True)
class HostConfig:
    """What the host runs with.

    Attributes:
        instance_id: name of this CoreC, 1 to 32 characters.
        db_config: libpq keywords of corec_db.
        redis_url: where Redis is; may carry a password.
        canales_criticos: channels whose entities get a mirror.
        plugins_dir: the folder with `<plugin>/plugin.json`.
        db_wait_seconds: how long the start waits for corec_db.
    """

    instance_id: str
    db_config: SecretDict
    redis_url: SecretStr
    canales_criticos: tuple[str, ...]
    plugins_dir: Path
    db_wait_seconds: float

    def as_dict(self) -> dict[str, Any]:
        """Give the settings as plugins read them from `nucleus.config`; printing it is harmless."""
        return {**asdict(self), "db_config": SecretDict(self.db_config)}


def load_host_config(
    path: Path, environ: Mapping[str, str], instance_id: str | None = None
) -> HostConfig:
    """Read, complete and check the host's configuration.

    Args:
        path: the YAML file.
        environ: COREC_DB_DSN, REDIS_URL and INSTANCE_ID win over the file; also feeds `${NAME}`.
        instance_id: wins over both.

    Raises:
        ConfigError: with the path of every fault, what was found and what is allowed.
    """
    raw = read_yaml(path)
    dsn = environ.get(DSN_ENV, "")
    if dsn:  # replaces the section, so that ${…} in it need not be set
        raw.pop("db_config", None)
    if environ.get(REDIS_ENV):
        raw["redis_config"] = {"url": environ[REDIS_ENV]}
    if chosen := instance_id or environ.get(INSTANCE_ENV):
        raw["instance_id"] = chosen
    try:
        checked = _HostFile.model_validate(_interpolated(raw, environ, ""))
    except ValidationError as exc:
        raise ConfigError(explain(exc, path.name, _HostFile)) from None
    if checked.db_config is None and not dsn:
        raise ConfigError(f"{path.name}: db_config: falta; se espera la sección, o {DSN_ENV}")
    return HostConfig(
        instance_id=checked.instance_id,
        db_config=_parse(dsn) if checked.db_config is None else checked.db_config.libpq(),
        redis_url=checked.redis_config.url,
        canales_criticos=checked.canales_criticos,
        plugins_dir=PROJECT_ROOT / checked.plugins_dir,
        db_wait_seconds=checked.db_wait_seconds,
    )


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping; an empty file is an empty one.

    Raises:
        ConfigError: it is missing, unreadable, no YAML or no mapping. Never quotes the content.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise ConfigError(f"{path}: no se puede leer ({exc.strerror})") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: no es texto UTF-8") from None
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark
        where = f" en la línea {mark.line + 1}, columna {mark.column + 1}" if mark else ""
        raise ConfigError(f"{path}: no es YAML válido{where} ({exc.problem})") from None
    except yaml.YAMLError:
        raise ConfigError(f"{path}: no es YAML válido") from None
    if content is None:
        return {}
    if not isinstance(content, dict):
        found = type(content).__name__
        raise ConfigError(f"{path}: se encontró {found}; se espera un grupo de claves")
    return content


def _interpolated(value: Any, environ: Mapping[str, str], path: str) -> Any:
    if isinstance(value, dict):
        return {
            key: _interpolated(inner, environ, f"{path}.{key}" if path else str(key))
            for key, inner in value.items()
        }
    if isinstance(value, list):
        return [_interpolated(inner, environ, f"{path}[{i}]") for i, inner in enumerate(value)]
    if not isinstance(value, str):
        return value

    def replace(match: re.Match[str]) -> str:
        name, default = match.group(1), match.group(2)
        found = environ.get(name)
        if default is not None:
            return found or default
        if found is None:
            raise ConfigError(
                f"{path}: la variable de entorno {name} no está definida; "
                f"se espera su valor, o ${{{name}:-por defecto}}"
            )
        return found

    return _VARIABLE.sub(replace, value)


def _parse(dsn: str) -> SecretDict:
    try:
        return SecretDict(parse_dsn(dsn))
    except psycopg2.Error:  # its text quotes the DSN, password and all
        raise ConfigError(
            f"{DSN_ENV}: no es una conexión de PostgreSQL válida (valor oculto); "
            "se espera postgresql://usuario:clave@servidor:puerto/base o 'host=… dbname=…'"
        ) from None
