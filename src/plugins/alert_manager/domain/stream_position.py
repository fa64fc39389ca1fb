"""How far Redis streams are judged: the newest entry of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
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


@dataclass(frozen=True, slots=True)
class StreamPosition:
    """The newest entry of each stream that is judged; each is read in the order of its ids."""

    last: Mapping[str, EntryId]

    def after(self, entries: Iterable[tuple[str, EntryId]]) -> StreamPosition:
        """Returns the position after more entries, each with its stream's name."""
        return StreamPosition({**self.last, **dict(entries)})

    def to_json(self) -> dict[str, Any]:
        """Returns it as JSON."""
        return {"last": {name: str(entry_id) for name, entry_id in self.last.items()}}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> StreamPosition:
        """Returns the position that `to_json` made JSON of."""
        return cls({name: EntryId.parse(text) for name, text in stored["last"].items()})
