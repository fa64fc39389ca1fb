"""One alert for as long as a state lasts: from the limit that opens it to the one that ends it."""

from __future__ import annotations

import enum
from collections import Counter

import msgspec

from .dedupe import TWIN_WINDOW
from .model import Occurrence, Severity

_TURNS = 16  # openings and endings that are remembered to know their twins by
_OVER = 100  # episodes that are remembered to know by what came late, or by a slower road


class Episode(msgspec.Struct, frozen=True, array_like=True):
    """A state that lasts.

    Attributes:
        since: event time of its first event (epoch seconds).
        severity: its worst.
        last: event time of the newest event that says so; of one that is over, of its end.
    """

    since: float
    severity: Severity
    last: float = 0.0


class Lasting(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a rule remembers of one key.

    Attributes:
        episode: the one that lasts, or None.
        turns: the events that opened and ended the newest episodes.
        over: the newest episodes that have ended.
    """

    episode: Episode | None = None
    turns: tuple[Occurrence, ...] = ()
    over: tuple[Episode, ...] = ()


class Step(enum.Enum):
    """What an event is to an episode."""

    NOTHING = "nothing"
    TOLD = "told"  # it opens one, makes it worse or repeats it
    ENDED = "ended"
    FLEETING = "fleeting"  # it came late: what it opened was over already


def step(
    state: Lasting,
    event: Occurrence,
    reached: Severity | None,
    cleared: bool,
    reach: float = TWIN_WINDOW,
) -> tuple[Lasting, Step, Episode | None]:
    """Takes one event.

    Args:
        state: what is remembered.
        event: the event.
        reached: the severity whose limit it reaches, or None.
        cleared: True where it ends an episode.
        reach: seconds before the first event of an episode in which another one belongs to it.

    Returns:
        What is to be remembered, what the event is, and the episode that it belongs to.
    """
    if _is_twin(state, event):
        return _turned(state.episode, state, event), Step.NOTHING, None
    if (past := _past_one(state, event, reach)) is not None:
        return _while_over(state, past, reached)
    if state.episode is not None:
        return _while_open(state, state.episode, event, reached, cleared)
    if reached is None:
        return state, Step.NOTHING, None
    episode = Episode(event.time, reached, event.time)
    later = [turn.time for turn in state.turns if turn.time > event.time]
    if later:
        fleeting = Episode(event.time, reached, min(later))  # what comes late, too, repeats it
        return _over(state, fleeting), Step.FLEETING, episode
    return _turned(episode, state, event), Step.TOLD, episode


def _while_open(
    state: Lasting, episode: Episode, event: Occurrence, reached: Severity | None, cleared: bool
) -> tuple[Lasting, Step, Episode | None]:
    if reached is not None:
        last = max(episode.last, event.time)
        worst = Episode(episode.since, max(episode.severity, reached), last)
        return msgspec.structs.replace(state, episode=worst), Step.TOLD, worst
    # What is older than the newest event that says otherwise ends nothing.
    if not cleared or event.time < max(episode.since, episode.last):
        return state, Step.NOTHING, None
    ended = Episode(episode.since, episode.severity, event.time)
    return _turned(None, _over(state, ended), event), Step.ENDED, episode


def _past_one(state: Lasting, event: Occurrence, reach: float) -> Episode | None:
    """Returns the episode that was over when this event came, and lasted when it happened.

    Or began soon after: another road may time its first event a little later, and of events that
    are counted, those that it takes to begin come before it.
    """
    if state.episode is not None and event.time >= state.episode.since:
        return None
    for past in state.over:
        if past.since <= event.time < past.last:
            return past
    soon = [past for past in state.over if event.time < past.since <= event.time + reach]
    return min(soon, key=lambda past: past.since, default=None)


def _over(state: Lasting, episode: Episode) -> Lasting:
    return msgspec.structs.replace(state, over=(*state.over, episode)[-_OVER:])


def _while_over(
    state: Lasting, past: Episode, reached: Severity | None
) -> tuple[Lasting, Step, Episode | None]:
    if reached is None:
        return state, Step.NOTHING, None
    if reached <= past.severity:
        return state, Step.TOLD, past  # a repeat of what was told
    worse = Episode(past.since, reached, past.last)
    over = tuple(worse if one is past else one for one in state.over)
    return msgspec.structs.replace(state, over=over), Step.FLEETING, worse


def _is_twin(state: Lasting, event: Occurrence) -> bool:
    """Says whether the same event came by another road before, and turned the state then."""
    roads = Counter(
        turn.road
        for turn in state.turns
        if turn.mark == event.mark and abs(turn.time - event.time) < TWIN_WINDOW
    )
    return any(count > roads[event.road] for count in roads.values())


def _turned(episode: Episode | None, state: Lasting, event: Occurrence) -> Lasting:
    turns = (*state.turns, event)[-_TURNS:]
    return msgspec.structs.replace(state, episode=episode, turns=turns)
