"""For the tests of the channels: messages plain, hostile and any, and a port that refuses."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from hypothesis import strategies as st

from src.plugins.alert_manager.domain.delivery import Message
from src.plugins.alert_manager.domain.model import Severity

MESSAGE = Message(
    alert_id=12,
    attempt=1,
    severity=Severity.CRITICA,
    title="Disyuntor abierto en trading_execution",
    text="El disyuntor de trading_execution se abrió: no se envían órdenes a kraken.",
    rule="circuit_breaker",
    channel="alertas",
    event_data={
        "tipo": "circuit_breaker_tripped",
        "plugin": "trading_execution",
        "exchange": "kraken",
        "symbol": "BTC/USDT",
        "user_id": "user1",
        "detalle": {"fallos": 5, "último": "connection refused"},
    },
    timestamp=1_763_872_000.5,  # 2025-11-23 04:26:40.5 UTC
)

HOSTILE_TEXT = (
    "\x1b[31mrojo\x1b[0m\r\nALERTA 99 [BAJA] falsa\x00\x07\u2028otra\u202eoculta "
    "@everyone <@123456789> <#42> **negrita** [aquí](https://malo.example/x) "
    "<script>alert(1)</script>\r\nBcc: ladron@malo.example"
)
HOSTILE = replace(
    MESSAGE,
    title=HOSTILE_TEXT,
    text=HOSTILE_TEXT,
    rule="regla\nfalsa",
    channel="canal\x1b[2J",
    event_data={"plugin": HOSTILE_TEXT, "<b>clave</b>\r\n": HOSTILE_TEXT},
)

SECRET = "correct-horse-battery"
LEAKY = replace(
    MESSAGE,
    title=f"Fallo pass\u200bword={SECRET}",
    text=f"https://user:{SECRET}@host/ token: {SECRET}",
    event_data={"password": SECRET, "nested": {"api_key": SECRET}, "plugin": f"secret={SECRET}"},
)

_text = st.text(st.characters(exclude_categories=()), max_size=60) | st.text(
    "\\*_~`|[]()<>@#:/-+. \n\u200b\u3000😀", max_size=60
)
_long = st.builds(lambda text, times: text * times, _text, st.integers(1, 120))
_scalar = st.none() | st.booleans() | st.integers() | st.floats() | _text
_json = st.recursive(
    _scalar,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_text, inner, max_size=4),
    max_leaves=12,
)
_known = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(("plugin", "exchange", "symbol", "user_id"), _json)
)

any_message = st.builds(
    Message,
    alert_id=st.integers(1, 2**63 - 1),
    attempt=st.integers(1, 50),
    severity=st.sampled_from(Severity),
    title=_long,
    text=_long,
    rule=_long,
    channel=_long,
    event_data=st.builds(
        lambda data, known: {**data, **known}, st.dictionaries(_text, _json, max_size=5), _known
    ),
    timestamp=st.floats(allow_nan=False, allow_infinity=False),
)


@contextmanager
def refusing_port() -> Iterator[int]:
    """A port of 127.0.0.1 that is taken, so nobody else gets it, but where nobody listens."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
