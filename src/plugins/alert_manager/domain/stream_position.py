"""How far Redis streams are judged: the newest entry of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

_MS_BITS, _SEQUENCE_BITS = 43, 20  # together a positive bigint; good until the year 2248


class EntryId(NamedTuple):
    """The id of a stream's entry: milliseconds since the epoch, and a number within them."""

    ms: int = 0
    sequence: int = 0

    @classmethod
    def parse(cls, text: str | bytes) -> EntryId:
        """Reads `1700000000000-0`.

        Raises:
            ValueError: it is no id.
        """
        plain = text.decode("ascii") if isinstance(text, bytes) else text
        ms, _, sequence = plain.partition("-")
        return cls(int(ms), int(sequence or 0))

    def __str__(self) -> str:
        return f"{self.ms}-{self.sequence}"

    def pack(self) -> int | None:
        """Returns it as one number that fits a bigint; None for an id that no clock made."""
        fits = self.ms < 1 << _MS_BITS and self.sequence < 1 << _SEQUENCE_BITS
        return self.ms << _SEQUENCE_BITS | self.sequence if fits else None

    @classmethod
    def unpack(cls, packed: int) -> EntryId:
        """Returns the id that `pack` made a number of."""
        return cls(packed >> _SEQUENCE_BITS, packed & ((1 << _SEQUENCE_BITS) - 1))


@dataclass(frozen=True, slots=True)
class StreamPosition:
    """The newest entry of each stream that is judged; each is read in the order of its ids.

    `history` names the server's: another one took over, or it was started anew, where it changes.
    """

    last: Mapping[str, EntryId]
    history: str | None = None

    def after(self, entries: Iterable[tuple[str, EntryId]]) -> StreamPosition:
        """Returns the position after more entries, each with its stream's name."""
        return replace(self, last={**self.last, **dict(entries)})

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON."""
        last = {name: str(entry_id) for name, entry_id in self.last.items()}
        return {"last": last, "history": self.history}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> StreamPosition:
        """Returns the position that `to_json` made JSON of."""
        last = {name: EntryId.parse(text) for name, text in stored["last"].items()}
        return cls(last, stored.get("history"))
