"""How a webhook is signed, as standardwebhooks.com has it: receivers have libraries for it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac

_PREFIX = "whsec_"  # of a secret that is written in base64
_SHORTEST = 16  # bytes of a key


def key(secret: str) -> bytes:
    """Returns the key that a secret stands for: base64 after `whsec_`, or the text itself.

    Raises:
        ValueError: it is no base64, or shorter than 16 bytes.
    """
    try:
        encoded = secret.removeprefix(_PREFIX)
        found = base64.b64decode(encoded, validate=True) if encoded != secret else secret.encode()
    except binascii.Error:
        raise ValueError("tras whsec_ se espera base64") from None
    if len(found) < _SHORTEST:
        raise ValueError("es corta; se esperan al menos 16 caracteres")
    return found


def forms(secret: str) -> tuple[str, ...]:
    """Returns the texts by which a server could repeat a secret: as it is written, and its key."""
    if not secret:
        return ()
    raw = key(secret)
    encoded = base64.b64encode(raw).decode()
    texts = {secret, secret.removeprefix(_PREFIX), encoded, encoded.rstrip("="), raw.hex()}
    texts.add(raw.decode("utf-8", "ignore"))
    return tuple(sorted((text for text in texts if text), key=len, reverse=True))


def signature(secret: bytes, identity: str, timestamp: str, body: bytes) -> str:
    """Returns the header `webhook-signature` of a request."""
    signed = f"{identity}.{timestamp}.".encode() + body
    digest = hmac.new(secret, signed, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"
