"""Takes secrets out of a payload, and makes it safe to store as jsonb, in one walk.

Redacted: the value of any key that names a secret, at any depth, and secrets inside text that give
themselves away by their form (credentials in a URL, a JWT, well-known key prefixes, card numbers).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from itertools import groupby
from typing import Any

from .cards import is_card, masked, without_cards
from .model import Payload

MASK = "[oculto]"
_SECRET_KEY = re.compile(
    r"pass(word|wd|phrase|code|$|[_-])|contrase(n|ñ)a|secret|token|(api|access|private)[-_]?key"
    r"|authorization|cookie|credential|(^|[_-])(auth|dsn|pwd|pin|cv[cv]|otp|jwt|clave)($|[_-])"
    r"|webhook_url|seed_?phrase|mnemonic",
    re.IGNORECASE,
)
_Form = tuple[tuple[str, ...], re.Pattern[str], str]
# Each form with what must stand in a lower-cased text for it to be there at all: looking for a
# literal is a hundred times faster than the pattern, and most texts have none of them.
_SECRET_FORMS: tuple[_Form, ...] = tuple(
    (triggers, re.compile(pattern), replacement)
    for triggers, pattern, replacement in (
        # user:password in a URL; what cannot hold the sign that follows is never given back (`+`)
        (("://",), r"://[^\s/@:]{0,200}+:(?:[^\s/]{1,500}|[^\s@]{1,60}+)@", f"://{MASK}@"),
        # JWT
        (("eyj",), r"(?<![\w-])eyJ[\w-]{8,2000}\.[\w-]{8,4000}\.[\w-]{0,2000}", MASK),
        # Stripe, OpenAI
        (
            ("sk-", "sk_", "pk-", "pk_", "rk-", "rk_"),
            r"\b[spr]k[-_](?:[a-z0-9]{2,10}[-_]){0,2}(?=[\w-]{0,40}\d)[\w-]{16,}",
            MASK,
        ),
        # Telegram's bots, Slack's webhooks, GitLab
        ((":aa",), r"(?<!\d)\d{8,10}:AA[\w-]{30,}", MASK),
        (("hooks.slack.com/",), r"hooks\.slack\.com/[\w/]{20,}", f"hooks.slack.com/{MASK}"),
        (("glpat-",), r"\bglpat-[\w-]{16,}", MASK),
        # GitHub, Slack, AWS
        (("github_pat_",), r"\bgithub_pat_\w{20,}", MASK),
        (("ghp_", "gho_", "ghu_", "ghs_", "ghr_"), r"\bgh[pousr]_[A-Za-z0-9]{20,}", MASK),
        (("xox",), r"\bxox[abprs]-[\w-]{10,}", MASK),
        (("akia", "asia"), r"\bA[KS]IA[0-9A-Z]{16}\b", MASK),
        # Google, SendGrid
        (("aiza",), r"\bAIza[\w-]{30,}", MASK),
        (("sg.",), r"\bSG\.[\w-]{16,}\.[\w-]{16,}", MASK),
        # Discord webhook
        (("/webhooks/",), r"/webhooks/\d+/[\w-]{20,}", f"/webhooks/{MASK}"),
        (("bearer",), r"(?i:\bbearer\s{1,20})[\w.~+/-]{8,}=*", MASK),
        (
            ("authorization",),
            r"(?i:authorization[\"']?\s{0,3}[=:]\s{0,3}[\"']?)(?:\w{1,20}\s{1,3})?[^\s,;\"'}]+",
            MASK,
        ),
        # A private key in PEM
        (
            ("private key-----",),
            r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[^-]*(?:-----END [A-Z ]{0,30}-----)?",
            MASK,
        ),
        # password=x, also as the end of a longer name, in JSON, and in quotes
        (
            ("pass", "pwd", "contrase", "clave", "secret", "token", "api"),
            r"(?<![\w-])[\w-]{0,40}(?i:pass(?:word|wd|phrase|code)?|pwd|contraseña|clave|secret|token"
            # A quote that nobody closes must not hide the rest of a sentence.
            r"|api[-_]?key)[\"']?\s{0,3}[=:]\s{0,3}"
            r"(?:\"[^\"]{1,200}\"|'[^']{1,200}'|[\"']?[^\s,;&\"'}]+)",
            MASK,
        ),
    )
)
_TRIGGERS = sorted(t for form in _SECRET_FORMS for t in form[0])
# By their first letters: that tries two or three of them at a place, and not thirty.
_ANY_TRIGGER = re.compile(
    "|".join(
        f"{re.escape(first)}(?:{'|'.join(re.escape(t[1:]) for t in those)})"
        for first, those in groupby(_TRIGGERS, key=lambda trigger: trigger[0])
    )
)
_FORM_OF = {t: number for number, form in enumerate(_SECRET_FORMS) for t in form[0]}
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # what jsonb refuses
_REPLACEMENT = "\ufffd"
_KEY_TRIGGER = re.compile(
    "pass|contrase|secret|token|key|auth|cookie|credential|dsn|pwd|pin|cvv|cvc|otp|jwt|clave"
    "|webhook|phrase|mnemonic"
)
# What numbers of cards are written with, of which there is a row of at least 13. Bytes beyond ASCII
# are parts of characters, among which there are digits, too.
_OF_CARDS = bytes(ord("0") if chr(b) in "0123456789 -" or b > 0x7F else 0 for b in range(256))
_ROW = b"0" * 13
_SHORT = 24  # characters of a text that is worth remembering
_LONG = 100  # characters of a key that is not
_BOOK = 10_000  # characters of a text in which each form is looked for by itself
_MANY = 64  # fields
_ONLY_TEXTS = {str}
_MOST_KINDS = 1024
_harmless: set[tuple[str, ...]] = set()  # fields of payloads, none of which names a secret
_SMALLEST_CARD, _LARGEST_CARD = 10**12, 10**19
_TICKER = re.compile("[A-Z]{2,6}")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")  # before a word in `webhookUrl`
_SHORTEST_SECRET = 18  # characters of the shortest form that is a name too
_MAX_JSON_INT = 10**30  # beyond it a number in a payload is noise; kept as text


def redact(data: Payload) -> Payload:
    """Returns a copy of `data` without secrets, which jsonb accepts as it is."""
    if type(data) is dict and _is_harmless(data):
        return data.copy()
    safe = {}
    for key, value in data.items():
        name, secret = _judged_key(key if type(key) is str else str(key))
        hidden = secret and _says_something(value) and not _is_coin(name, value)
        safe[name] = MASK if hidden else _safe(value)
    return safe


def _is_harmless(data: dict[Any, Any]) -> bool:
    """Says whether a flat payload holds nothing to be hidden, as nearly all do; False: maybe."""
    return _are_harmless(tuple(data)) and _are_plain(data.values())


def _are_harmless(keys: tuple[Any, ...]) -> bool:
    if set(map(type, keys)) != _ONLY_TEXTS:
        return False
    if len(keys) > _MANY:
        names = "\n".join(keys)
        return _KEY_TRIGGER.search(names.lower()) is None and says_nothing(names)
    if keys in _harmless:  # nearly always: events of a kind have the same fields
        return True
    if not all(_judged_key(key) == (key, False) for key in keys):
        return False
    if max(map(len, keys)) <= _SHORT:
        if len(_harmless) >= _MOST_KINDS:
            _harmless.clear()
        _harmless.add(keys)
    return True


def _are_plain(values: Iterable[Any]) -> bool:
    """Says whether numbers and texts stay as they are; False: maybe, or there are others.

    All texts are looked through at once: that is half the work of one after the other.
    """
    said = []
    for value in values:
        kind = type(value)
        if kind is str:
            said.append(value)
        elif kind is float:
            if not math.isfinite(value):
                return False
        elif kind is int:
            if not -_SMALLEST_CARD < value < _SMALLEST_CARD:
                return False
        elif value is not None and kind is not bool:
            return False
    return says_nothing("\n".join(said))  # no form of a secret goes beyond a line unseen


def says_nothing(text: str) -> bool:
    """Says whether `redact_text` leaves a text as it is, at a glance; False: maybe."""
    return (
        (raw := _stored(text)) is not None
        and _ROW not in raw.translate(_OF_CARDS)
        and _ANY_TRIGGER.search(text.lower()) is None
    )


def redact_text(text: str) -> str:
    """Returns `text` without what has the form of a secret, nor characters that jsonb refuses."""
    if (raw := _stored(text)) is None:
        text = _UNSTORABLE.sub(_REPLACEMENT, text)
        raw = text.encode()
    if _ROW in raw.translate(_OF_CARDS):
        text = without_cards(text)
    for _, pattern, replacement in _forms_in(text.lower()):
        text = pattern.sub(replacement, text)
    return text


def _forms_in(text: str) -> list[_Form]:
    """Returns the forms of secrets that a lower-cased text may hold."""
    if len(text) > _BOOK:  # a trigger may stand in it 100,000 times: the first of each will do
        return [form for form in _SECRET_FORMS if any(t in text for t in form[0])]
    found = _ANY_TRIGGER.findall(text)
    return [_SECRET_FORMS[n] for n in sorted({_FORM_OF[t] for t in found})] if found else []


def _stored(text: str) -> bytes | None:
    """Returns a text in UTF-8; None where jsonb refuses it: half a surrogate pair has no bytes."""
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        return None
    return None if b"\0" in raw else raw


# Names of plugins, users and symbols: the same ones in nearly every event.
_redacted = lru_cache(maxsize=8192)(redact_text)


def _judged_key(key: str) -> tuple[str, bool]:
    """Returns a key that is safe to show, and whether it names a secret."""
    return _known_key(key) if len(key) <= _LONG else _judge_key(key)


def _judge_key(key: str) -> tuple[str, bool]:
    if _KEY_TRIGGER.search(key.lower()) is None:
        return redact_text(key), False
    # A name is no secret, however it is called; `password=x` is one, and a long name may be.
    plain = key if len(key) < _SHORTEST_SECRET and key.isidentifier() else redact_text(key)
    words = key if key.islower() else _CAMEL.sub("_", key)
    return plain, _SECRET_KEY.search(words) is not None


_known_key = lru_cache(maxsize=4096)(_judge_key)


def _is_coin(name: str, value: Any) -> bool:
    """Says whether a `token` is one that is traded: two withdrawals of two coins are two alerts."""
    return name == "token" and type(value) is str and _TICKER.fullmatch(value) is not None


def counterpart(data: Any, safe: Any, value: Any) -> Any:
    """Returns what `redact` made of a value inside `data`; MASK where it is not there as it is.

    `safe` is what it made of `data`.
    """
    if data is value:
        return safe
    pairs: Iterable[tuple[Any, Any]] = ()
    if isinstance(data, Mapping) and isinstance(safe, Mapping):
        pairs = zip(data.values(), safe.values(), strict=False)
    elif isinstance(data, list) and isinstance(safe, list):
        pairs = zip(data, safe, strict=False)
    return next((c for d, s in pairs if (c := counterpart(d, s, value)) is not MASK), MASK)


def _says_something(value: Any) -> bool:
    return value not in (None, "", False, True)


def _safe(value: Any) -> Any:
    kind = type(value)
    if kind is str:
        return redact_text(value) if len(value) > _SHORT else _redacted(value)
    if kind is list:
        return value.copy() if _are_plain(value) else [_safe(item) for item in value]
    if kind is dict:
        return redact(value)
    if value is None or kind is bool:
        return value
    if kind is float:
        return value if math.isfinite(value) else str(value)
    if kind is int:
        if _SMALLEST_CARD <= value < _LARGEST_CARD and is_card(digits := str(value)):
            return masked(digits)
        return value if -_MAX_JSON_INT <= value <= _MAX_JSON_INT else str(value)
    return _safe_foreign(value)


def _safe_foreign(value: Any) -> Any:
    """Makes a value safe that no JSON holds; the host may hand over an event with any."""
    if isinstance(value, Mapping):
        return redact({str(key): item for key, item in value.items()})
    if isinstance(value, tuple | list):
        return [_safe(item) for item in value]
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    return redact_text(str(value))
