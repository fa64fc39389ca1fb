"""What `notification_config.email` may say."""

from __future__ import annotations

import ipaddress
import re
import ssl
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
)

from ...domain.escape import single_line
from ...hosts import is_loopback
from .base import ChannelSettings, PerMinute, Waiting

IMPLICIT_TLS_PORT = 465
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*")
_ATOM = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_ADDRESS = re.compile(rf"{_ATOM}(?:\.{_ATOM})*@{_HOST.pattern}")


def _address(text: str) -> str:
    if len(text) > 254 or not _ADDRESS.fullmatch(text):
        raise ValueError(f"se encontró {text!r}; se espera una dirección como nombre@ejemplo.com")
    return text


def _host(text: str) -> str:
    bare = text.removeprefix("[").removesuffix("]")
    if ":" in bare:
        try:
            return str(ipaddress.IPv6Address(bare))
        except ValueError:
            pass
    elif len(bare) <= 253 and _HOST.fullmatch(bare):
        return bare
    raise ValueError(
        f"se encontró {text!r}; se espera solo el nombre del servidor, como smtp.ejemplo.com "
        "(el puerto va en smtp_port)"
    )


def _blank_is_none(value: Any) -> Any:
    """An unset variable of the environment arrives as an empty text."""
    return None if isinstance(value, str) and not value.strip() else _stripped(value)


def _stripped(value: Any) -> Any:
    return value.strip() if isinstance(value, str) else value


def _addresses(value: Any) -> Any:
    """Splits `a@x, b@y`; drops blanks and repeats."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        return () if value is None else value
    trimmed = (_stripped(part) for part in parts)
    return tuple(dict.fromkeys(part for part in trimmed if part not in ("", None)))


Address = Annotated[str, AfterValidator(_address)]
_Blank = BeforeValidator(_blank_is_none)


class EmailSettings(ChannelSettings):
    """`notification_config.email`.

    `recipient` is one address, several separated by commas, or a list. `tls` is `implicit` on port
    465 and `starttls` on any other unless it says otherwise; `none` is for this machine alone, and
    leaves a password unused: there is no login without TLS. `username` is the sender unless it says
    otherwise. `ca_file` replaces the system's authorities by the operator's own.
    """

    model_config = ConfigDict(hide_input_in_errors=True)
    per_minute: PerMinute = 20.0
    digest_above: Waiting = 20

    smtp_server: Annotated[str | None, _Blank] = Field(default=None, validate_default=True)
    smtp_port: int = Field(default=587, ge=1, le=65535)
    tls: Literal["starttls", "implicit", "none"] | None = Field(default=None, validate_default=True)
    ca_file: Annotated[str | None, _Blank] = None
    sender: Annotated[Address | None, _Blank] = Field(default=None, validate_default=True)
    recipient: Annotated[tuple[Address, ...], BeforeValidator(_addresses)] = Field(
        default=(), validate_default=True
    )
    username: Annotated[str | None, _Blank] = None
    password: SecretStr | None = None
    subject_prefix: str = Field(default="[CoreC]", max_length=60)

    @field_validator("smtp_server")
    @classmethod
    def _is_host(cls, value: str | None) -> str | None:
        return None if value is None else _host(value)

    @field_validator("smtp_server", "sender", "recipient")
    @classmethod
    def _is_present(cls, value: Any, info: ValidationInfo) -> Any:
        if info.data.get("enabled") and not value:
            raise ValueError("falta; es obligatorio mientras el canal esté activo (enabled: true)")
        return value

    @field_validator("tls")
    @classmethod
    def _no_plain_text_to_others(cls, value: str | None, info: ValidationInfo) -> str:
        if value is None:
            return "implicit" if info.data.get("smtp_port") == IMPLICIT_TLS_PORT else "starttls"
        host = info.data.get("smtp_server")
        if info.data.get("enabled") and value == "none" and host and not is_loopback(host):
            raise ValueError(
                f"sin cifrado solo se envía a esta misma máquina, no a {host}; "
                "se permite: starttls, implicit"
            )
        return value

    @field_validator("ca_file")
    @classmethod
    def _is_readable(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                ssl.create_default_context(cafile=value)
            except (OSError, ValueError):
                raise ValueError(
                    f"se encontró {value!r}; se espera un fichero legible con certificados PEM"
                ) from None
        return value

    @field_validator("username")
    @classmethod
    def _is_one_line(cls, value: str | None) -> str | None:
        if value is not None and value != single_line(value):
            raise ValueError("contiene caracteres de control o espacios de más")
        return value

    @field_validator("password")
    @classmethod
    def _blank_is_no_password(cls, value: SecretStr | None) -> SecretStr | None:
        return value if value is not None and value.get_secret_value() else None

    @field_validator("subject_prefix")
    @classmethod
    def _is_clean(cls, value: str) -> str:
        return single_line(value)

    def tls_context(self) -> ssl.SSLContext:
        """Returns what verifies the server: its certificate and name, TLS 1.2 or newer.

        Raises:
            OSError: `ca_file` cannot be read any more.
        """
        context = ssl.create_default_context(cafile=self.ca_file)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context
