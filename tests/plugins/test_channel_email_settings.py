from __future__ import annotations

import ssl
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from src.plugins.alert_manager.domain.formats import Formats
from src.plugins.alert_manager.utils.channels.email import EmailChannel, EmailSettings
from src.plugins.alert_manager.utils.channels.email_message import MailWriter

GIVEN: dict[str, Any] = {
    "smtp_server": "smtp.ejemplo.com",
    "sender": "alertas@ejemplo.com",
    "recipient": "ana@ejemplo.com",
}
PASSWORD = "muy-secreta-4711"


@pytest.mark.parametrize(
    ("said", "tls"),
    [
        ({}, "starttls"),
        ({"smtp_port": 465}, "implicit"),
        ({"smtp_port": 25}, "starttls"),
        ({"smtp_port": 465, "tls": "starttls"}, "starttls"),
        ({"smtp_server": "127.0.0.1", "tls": "none"}, "none"),
        ({"smtp_server": "127.8.8.8", "tls": "none"}, "none"),
        ({"smtp_server": "::1", "tls": "none"}, "none"),
        ({"smtp_server": "[::1]", "tls": "none"}, "none"),
        ({"smtp_server": "localhost", "tls": "none"}, "none"),
    ],
)
def test_tls(said: dict[str, Any], tls: str) -> None:
    assert EmailSettings(**GIVEN | said).tls == tls


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("ana@ejemplo.com", ("ana@ejemplo.com",)),
        ("ana@ejemplo.com, b@x.mx,ana@ejemplo.com,", ("ana@ejemplo.com", "b@x.mx")),
        (["ana@ejemplo.com", " b@x.mx "], ("ana@ejemplo.com", "b@x.mx")),
    ],
)
def test_recipients(said: Any, found: tuple[str, ...]) -> None:
    assert EmailSettings(**GIVEN | {"recipient": said}).recipient == found


FAULTS = [
    ({"smtp_server": None}, "smtp_server", "falta"),
    ({"smtp_server": ""}, "smtp_server", "falta"),
    ({"sender": ""}, "sender", "falta"),
    ({"recipient": ""}, "recipient", "falta"),
    ({"recipient": []}, "recipient", "falta"),
    ({"smtp_server": "smtp.ejemplo.com:587"}, "smtp_server", "solo el nombre"),
    ({"smtp_server": "https://smtp.ejemplo.com"}, "smtp_server", "solo el nombre"),
    ({"smtp_server": "smtp..com"}, "smtp_server", "solo el nombre"),
    ({"smtp_server": "a\r\nb"}, "smtp_server", "solo el nombre"),
    ({"smtp_server": "10.0.0.5", "tls": "none"}, "tls", "sin cifrado"),
    ({"smtp_server": "127.0.0.1.ejemplo.com", "tls": "none"}, "tls", "sin cifrado"),
    ({"sender": "alertas"}, "sender", "nombre@ejemplo.com"),
    ({"sender": "CoreC <a@b.mx>"}, "sender", "nombre@ejemplo.com"),
    ({"sender": "a@b.mx\r\nBcc: c@d.mx"}, "sender", "nombre@ejemplo.com"),
    ({"recipient": "ana@ejemplo.com; b@x.mx"}, "recipient", "nombre@ejemplo.com"),
    ({"recipient": ["ana@ejemplo.com", "x@y@z"]}, "recipient", "nombre@ejemplo.com"),
    ({"recipient": ["a@b.mx\nX: y"]}, "recipient", "nombre@ejemplo.com"),
    ({"username": "ana\nRCPT"}, "username", "control"),
    ({"ca_file": "/no/existe.pem"}, "ca_file", "certificados PEM"),
    ({"ca_file": __file__}, "ca_file", "certificados PEM"),
]


@pytest.mark.parametrize(("said", "field", "sentence"), FAULTS)
def test_faults(said: dict[str, Any], field: str, sentence: str) -> None:
    with pytest.raises(ValidationError) as caught:
        EmailSettings(**GIVEN | said)
    (fault,) = caught.value.errors(include_input=False)
    assert fault["loc"][0] == field
    assert sentence in str(fault["ctx"]["error"])
    assert PASSWORD not in str(caught.value)


@pytest.mark.parametrize(
    "said",
    [{"smtp_port": 0}, {"smtp_port": 65536}, {"tls": "ssl"}, {"timeout": 0}, {"timeout": 46}],
)
def test_bounds(said: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        EmailSettings(**GIVEN | said)


@pytest.mark.parametrize(
    "said",
    [
        {},
        {"smtp_server": "", "sender": "", "recipient": "", "password": "", "username": ""},
        {"smtp_server": "smtp.ejemplo.com", "tls": "none", "password": PASSWORD},
    ],
)
def test_a_disabled_channel_needs_nothing(said: dict[str, Any]) -> None:
    checked = EmailSettings(enabled=False, **said)
    with pytest.raises(ValueError, match="smtp_server"):
        EmailChannel(checked)


def test_an_empty_password_is_none() -> None:
    assert EmailSettings(**GIVEN, password="").password is None


def test_the_password_is_not_shown() -> None:
    assert PASSWORD not in repr(EmailSettings(**GIVEN, password=PASSWORD))


def test_the_prefix_is_one_line() -> None:
    assert EmailSettings(**GIVEN, subject_prefix="[a]\r\nBcc: x").subject_prefix == "[a] Bcc: x"


def test_the_server_is_verified() -> None:
    context = EmailSettings(**GIVEN).tls_context()
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2


@given(st.from_regex(r"[!-~]{1,20}@[!-~]{1,20}", fullmatch=True) | st.text(max_size=20))
def test_whatever_passes_as_an_address_can_be_written(text: str) -> None:
    try:
        checked = EmailSettings(**GIVEN | {"sender": text})
    except ValidationError:
        return
    assert checked.sender == text.strip()
    MailWriter(text.strip(), [text.strip()], "", Formats())
