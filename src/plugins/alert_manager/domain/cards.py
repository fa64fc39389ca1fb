"""Payment card numbers: known by their issuer's digits and their check digit."""

from __future__ import annotations

import re

# First digits and lengths in use, by network (ISO/IEC 7812): Visa, Mastercard, American Express,
# Diners Club, Discover, JCB, UnionPay. Lengths that no network issues any more are left out:
# numbers of orders are long, too.
_ISSUED = re.compile(
    r"4\d{12}(?:\d{3})?|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"
    r"|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}|6(?:011|4[4-9]\d|5\d\d)\d{12}"
    r"|35(?:2[89]|[3-8]\d)\d{12}|62\d{14,17}"
)
_WRITTEN = re.compile(r"(?<![\d.])\d+(?:[ -]\d+)*(?!\d|\.\d)")
_SHORTEST, _LONGEST = 13, 19  # digits
_LONG = 15  # digits; of a shorter number both ends would leave too few to guess
_DOUBLED = (0, 2, 4, 6, 8, 1, 3, 5, 7, 9)  # the digits' sums of twice a digit


def is_card(digits: str) -> bool:
    """Says whether a run of ASCII digits is a card's number."""
    return _ISSUED.fullmatch(digits) is not None and _checks(digits)


def masked(digits: str) -> str:
    """Returns what may be shown of a card's number, as PCI DSS 3.4.1 has it: the ends, at most.

    One order in ten of an exchange whose numbers begin as a card's has its check digit, too. What
    is left tells two of them apart, for a person and for dedupe.
    """
    first = digits[:6] if len(digits) >= _LONG else ""
    return f"[oculto {first}…{digits[-4:]}]"


def without_cards(text: str) -> str:
    """Returns a text with card numbers masked, also those that are written in groups."""
    return _WRITTEN.sub(lambda match: _shown(match[0]), text)


def _shown(written: str) -> str:
    """Masks each card among groups of digits: a date or a code may stand beside it."""
    if len(written) < _SHORTEST:
        return written
    parts = re.split(r"([ -])", written)  # groups, and what is between them
    shown, at = [], 0
    while at < len(parts):
        card, last = _card(parts, at)
        shown += [parts[at] if card is None else masked(card), *parts[last + 1 : last + 2]]
        at = last + 2
    return "".join(shown)


def _card(parts: list[str], first: int) -> tuple[str | None, int]:
    """Returns the card that begins with a group, or None; and its last group, or that one."""
    digits = ""
    for last in range(first, len(parts), 2):
        digits += parts[last]
        if len(digits) > _LONGEST:
            break
        if len(digits) >= _SHORTEST and is_card(digits):
            return digits, last
    return None, first


def _checks(digits: str) -> bool:
    """Applies the Luhn formula."""
    own = sum(map(int, digits[-1::-2]))
    return (own + sum(_DOUBLED[int(digit)] for digit in digits[-2::-2])) % 10 == 0
