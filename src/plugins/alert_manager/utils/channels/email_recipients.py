"""What becomes of a mail whose recipients a server answers one by one (RFC 5321, RCPT).

A 4xx is retried for that recipient alone, a 5xx is for good; whoever has the mail gets it once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...domain.delivery import Outcome, Progress, Rejected, Retry, Sent
from ...domain.escape import masked_address

_NOTHING = Progress(())
_REMOVED = "los destinatarios que faltaban ya no están en notification_config"


@dataclass(frozen=True, slots=True)
class Refusal:
    """A recipient that the server did not take now; `answer` is without secrets."""

    address: str
    code: int
    answer: str

    @property
    def is_final(self) -> bool:
        """True for a 5xx."""
        return self.code >= 500


def still_to_tell(configured: Sequence[str], before: Progress | None) -> tuple[str, ...]:
    """Returns the recipients of the next attempt, of those that the configuration has."""
    return tuple(a for a in configured if before is None or a in before.remaining)


def settled(
    server: str,
    before: Progress | None,
    refusals: Sequence[Refusal],
    told: bool,
    external_id: str | None = None,
) -> Outcome:
    """Returns the outcome of an attempt that got as far as the recipients.

    Args:
        server: its name, for people.
        before: what earlier attempts reached.
        refusals: recipients of this attempt that were not taken.
        told: True when this attempt delivered the mail to the others.
        external_id: the server's own id for it.
    """
    was = before or _NOTHING
    later = [refusal for refusal in refusals if not refusal.is_final]
    never = _sentence(server, (refusal for refusal in refusals if refusal.is_final))
    if not later:
        return finished(before, never, told, external_id)
    refused = _joined(was.refused, never)
    progress = Progress(tuple(refusal.address for refusal in later), refused, told or was.told)
    everybody = not progress.told and not refused
    return Retry(
        _joined(_sentence(server, later), refused), progress=None if everybody else progress
    )


def finished(
    before: Progress | None, reason: str, told: bool = False, external_id: str | None = None
) -> Outcome:
    """Returns the outcome when nobody is left to be told; `reason` may be empty."""
    was = before or _NOTHING
    refused = _joined(was.refused, reason)
    if told or was.told:
        return Sent(external_id or None, refused or None)
    return Rejected(refused)


def removed(before: Progress | None) -> Outcome:
    """Returns the outcome when all who were still to be told left the configuration."""
    return finished(before, _REMOVED)


def _sentence(server: str, refusals: Iterable[Refusal]) -> str:
    """Names who was refused and why, those with the same answer together."""
    by_answer: dict[str, list[str]] = {}
    for refusal in refusals:
        answer = f"{refusal.code} {refusal.answer}".rstrip()
        by_answer.setdefault(answer, []).append(masked_address(refusal.address))
    return "; ".join(
        f"{server} no acepta a {', '.join(names)}: {answer}" for answer, names in by_answer.items()
    )


def _joined(*sentences: str) -> str:
    return "; ".join(sentence for sentence in sentences if sentence)
