from __future__ import annotations

import html
import re
from dataclasses import replace
from email.message import EmailMessage
from email.parser import BytesParser
from email.policy import SMTP, default
from typing import Any

import pytest
from hypothesis import given, settings

from src.plugins.alert_manager.domain.delivery import Message
from src.plugins.alert_manager.domain.formats import Formats
from src.plugins.alert_manager.domain.model import Severity
from src.plugins.alert_manager.utils.channels.email_message import MailWriter
from tests.plugins.channel_messages import HOSTILE, LEAKY, MESSAGE, SECRET, any_message
from tests.support.pace import seconds

WRITER = MailWriter("alertas@familia.mx", ["ana@familia.mx", "b@x.mx"], "[CoreC]", Formats())
HEADERS = {
    *("From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "X-CoreC-Alert-Id"),
    *("X-CoreC-Severity", "X-Priority", "Importance", "MIME-Version", "Content-Type"),
}


def _received(message: Message) -> EmailMessage:
    """The mail as its reader's program sees it."""
    raw = WRITER.write(message).as_bytes(policy=SMTP.clone(cte_type="7bit"))
    assert raw.isascii()
    assert max(map(len, raw.split(b"\r\n"))) <= 998
    parsed = BytesParser(policy=default).parsebytes(raw)
    assert isinstance(parsed, EmailMessage)
    assert not parsed.defects
    assert set(parsed.keys()) <= HEADERS
    return parsed


def _parts(mail: EmailMessage) -> tuple[str, str]:
    assert mail.get_content_type() == "multipart/alternative"
    plain, page = mail.iter_parts()
    assert isinstance(plain, EmailMessage)
    assert isinstance(page, EmailMessage)
    assert (plain.get_content_type(), page.get_content_type()) == ("text/plain", "text/html")
    return plain.get_content(), page.get_content()


def test_headers() -> None:
    mail = _received(MESSAGE)
    assert mail["From"] == "CoreC <alertas@familia.mx>"
    assert mail["To"] == "ana@familia.mx, b@x.mx"
    assert mail["Subject"] == (
        "[CoreC] CRÍTICA: Disyuntor abierto en trading_execution (alerta 12)"
    )
    assert mail["Message-ID"] == "<corec-alerta-12-1763872000500@familia.mx>"
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["X-CoreC-Alert-Id"] == "12"
    assert mail["X-CoreC-Severity"] == "critica"
    assert mail["Date"].datetime.tzinfo is not None


@pytest.mark.parametrize(
    ("severity", "priority"),
    [
        (Severity.CRITICA, "1 (Highest)"),
        (Severity.ALTA, "2 (High)"),
        (Severity.MEDIA, None),
        (Severity.BAJA, None),
    ],
)
def test_priority(severity: Severity, priority: str | None) -> None:
    mail = _received(replace(MESSAGE, severity=severity))
    assert mail["X-Priority"] == priority
    assert mail["Importance"] == (None if priority is None else "high")


def test_the_end_of_an_alert_is_another_mail_and_no_urgent_one() -> None:
    mail = _received(replace(MESSAGE, recovered=True))
    assert mail["Subject"].startswith("[CoreC] RESUELTA: Disyuntor")
    assert mail["Message-ID"] != _received(MESSAGE)["Message-ID"]
    assert mail["X-Priority"] is None
    assert "resuelta" in _parts(mail)[0].lower()


def test_both_parts_say_everything() -> None:
    plain, page = _parts(_received(MESSAGE))
    for text in (plain, html.unescape(page)):
        for said in (
            *("CRÍTICA", MESSAGE.title, MESSAGE.text, "circuit_breaker", "alertas"),
            *("trading_execution", "kraken", "BTC/USDT", "user1", "12"),
            "22/11/2025 22:26:40 (America/Mexico_City)",
            "23/11/2025 04:26:40 UTC",
            '"último": "connection refused"',
        ):
            assert said in text


def test_the_page_stands_alone() -> None:
    _, page = _parts(_received(MESSAGE))
    assert not re.search(r"<(script|link|img|style|iframe)\b|https?://|url\(", page)
    assert 'name="viewport"' in page
    assert "color-scheme" in page


def test_event_text_is_escaped_and_forges_no_header() -> None:
    mail = _received(HOSTILE)
    assert "Bcc" not in mail
    assert mail["Subject"].count("\n") == 0
    plain, page = _parts(mail)
    assert "<script>" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "<b>clave" not in page
    for part in (plain, page):
        text = part.replace("\r\n", "\n")
        assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202e]", text)
        assert not re.search(r"^(Bcc:|ALERTA 99)", text, re.MULTILINE)


def test_a_template_in_an_event_is_only_text() -> None:
    _, page = _parts(_received(replace(MESSAGE, title="{{ 7 * 7 }} {% raw %}")))
    assert "{{ 7 * 7 }} {% raw %}" in page


def test_no_secret_of_an_event() -> None:
    mail = _received(LEAKY)
    assert SECRET not in str(mail["Subject"])
    for text in _parts(mail):
        assert SECRET not in text
        assert "[oculto]" in text


@pytest.mark.parametrize(
    "data",
    [
        {"x": "y" * 1_000_000},
        {"x": ["y" * 100] * 10_000},
        {f"clave{i}": {"n": i} for i in range(50_000)},
        {"x": [1] * 500_000},
        {"x": "y" * 15_990},
    ],
    ids=["text", "texts", "keys", "numbers", "just over"],
)
def test_a_huge_event_is_cut_and_holds_up_nobody(data: dict[str, Any]) -> None:
    message = replace(MESSAGE, event_data=data)
    assert seconds(lambda: WRITER.write(message)) < 0.25
    plain, _ = _parts(_received(message))
    assert len(plain) < 20_000
    assert "recortado" in plain


def test_an_event_that_fits_is_whole() -> None:
    data = {"a": "y" * 10_000, "b": [{"c": None}] * 20, "d": "fin"}
    plain, _ = _parts(_received(replace(MESSAGE, event_data=data)))
    assert "recortado" not in plain
    assert '"d": "fin"' in plain


def test_a_secret_is_hidden_wherever_it_stands_in_a_huge_event() -> None:
    for before in range(15_000, 16_100, 100):
        data = {"x": "y" * before, "password": SECRET, "z": f"token={SECRET}"}
        plain, page = _parts(_received(replace(MESSAGE, event_data=data)))
        assert SECRET[:6] not in plain + page


def test_a_long_title_is_cut_but_the_id_stays() -> None:
    subject = str(_received(replace(MESSAGE, title="muy largo " * 100))["Subject"])
    assert len(subject) <= 200
    assert subject.endswith("… (alerta 12)")


@given(message=any_message)
@settings(deadline=None, max_examples=150)
def test_any_alert_is_a_well_formed_mail(message: Message) -> None:
    mail = _received(message)
    assert str(message.alert_id) in str(mail["Subject"])
    for text in _parts(mail):
        assert str(message.alert_id) in text
