"""Where alert_db is: `db_config`, or the environment's ALERT_DB_DSN, which goes before it.

And corec_db, where the environment's ALERT_COREC_DB_DSN says that it is not to be the host's way.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import psycopg2
from psycopg2.extensions import parse_dsn
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, model_validator

from .config_file import ConfigError, Fault

DSN_ENV = "ALERT_DB_DSN"
COREC_DSN_ENV = "ALERT_COREC_DB_DSN"
ENCODING = "UTF8"
"""How we speak to every database: one in SQL_ASCII would have us speak ASCII."""
LINK: Mapping[str, Any] = {
    "connect_timeout": 5,  # seconds
    "application_name": "alerts.sh",
    "client_encoding": ENCODING,
}
"""libpq keywords of the command line's connections, whatever a DSN says of them."""


def _keywords(dsn: str) -> dict[str, Any]:
    try:
        return dict(parse_dsn(dsn))
    except psycopg2.Error:  # its text quotes the DSN, password and all
        raise ValueError(
            "no es una conexión de PostgreSQL (valor oculto); se espera "
            "postgresql://usuario:clave@servidor:puerto/base o 'host=… dbname=…'"
        ) from None


def _checked(dsn: SecretStr) -> SecretStr:
    _keywords(dsn.get_secret_value())
    return dsn


class DatabaseSettings(BaseModel):
    """`db_config`: a DSN, or its parts."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, coerce_numbers_to_str=True, hide_input_in_errors=True
    )

    dsn: Annotated[SecretStr, AfterValidator(_checked)] | None = None
    host: str | None = None
    port: int | None = Field(default=None, ge=1, le=65535)
    dbname: str | None = None
    user: str | None = None
    password: SecretStr | None = None

    @model_validator(mode="after")
    def _one_way(self) -> DatabaseSettings:
        parts = (self.host, self.port, self.dbname, self.user, self.password)
        if self.dsn is not None and any(part is not None for part in parts):
            raise ValueError("se espera o bien dsn, o bien host, port, dbname, user y password")
        return self

    def parameters(self) -> dict[str, Any]:
        """Returns libpq keywords."""
        if self.dsn is not None:
            return _keywords(self.dsn.get_secret_value())
        password = self.password.get_secret_value() if self.password else None
        named = {
            "host": self.host,
            "port": self.port,
            "dbname": self.dbname,
            "user": self.user,
            "password": password,
        }
        return {name: value for name, value in named.items() if value is not None}


def from_environment(environ: Mapping[str, str], variable: str = DSN_ENV) -> dict[str, Any] | None:
    """Returns libpq keywords of a variable with a DSN; None where it is not set.

    Raises:
        ConfigError: it is no DSN; the value is not shown.
    """
    dsn = environ.get(variable)
    if not dsn:
        return None
    try:
        return _keywords(dsn)
    except ValueError as error:
        raise ConfigError([Fault(variable, str(error))], "La conexión con la base") from None
