"""What became of each event of a batch, counted by its channel."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from .model import RawEvent
from .outcome import Committed, Judged

OTHER = "other"
"""Stands for every name that the configuration does not know: labels must not grow by events."""

NOTHING, ALERT, REPEAT, DEAD_LETTER, COMMAND, IGNORED = OUTCOMES = (
    "nothing",
    "alert",
    "repeat",
    "dead_letter",
    "command",
    "ignored",
)
_WIDTH = 50  # characters; the width of `canal`, to which candidates and dead letters are cut


def tally(
    events: Sequence[RawEvent], judged: Judged, committed: Committed, watched: Collection[str]
) -> Counter[tuple[str, str]]:
    """Returns how many events of each (channel, outcome) there were.

    An event that made several alerts counts once: as an alert where one of them was new. Channels
    that are not watched are one, `other`, and ignored.
    """
    known = {name[:_WIDTH]: name for name in watched}
    special: dict[tuple[str, int], tuple[str, str]] = {}
    for index, candidate in enumerate(judged.candidates):
        if candidate.event_id is None:  # what did not come, or an alert of our own
            continue
        key = (candidate.source, candidate.event_id)
        if index in committed.alerts:
            special[key] = (candidate.channel, ALERT)
        else:
            special.setdefault(key, (candidate.channel, REPEAT))
    for letter in judged.dead_letters:
        if letter.event_id is not None:
            special[letter.source, letter.event_id] = (letter.channel, DEAD_LETTER)
    if judged.changes and events:  # a command ends the batch that it stands in
        last = events[-1]
        special[last.source, last.event_id or 0] = (last.channel[:_WIDTH], COMMAND)
    counts: Counter[tuple[str, str]] = Counter()
    for channel, number in Counter(event.channel for event in events).items():
        name = known.get(channel[:_WIDTH])
        counts[(OTHER, IGNORED) if name is None else (name, NOTHING)] += number
    for channel, outcome in special.values():
        name = known.get(channel, OTHER)
        counts[name, outcome] += 1
        counts[name, NOTHING] -= 1
    return Counter({key: number for key, number in counts.items() if number > 0})
