"""One alert for as long as a state lasts: from the limit that opens it to the one that ends it."""

from __future__ import annotations

import enum
from collections import Counter

import msgspec

from .dedupe import TWIN_WINDOW
from .model import Occurrence, Severity

_TURNS = 16  # openings and endings that are remembered to know their twins by


class Episode(msgspec.Struct, frozen=True, array_like=True):
    """A state that lasts: event time of its first event (epoch seconds), and its worst severity."""

    since: float
    severity: Severity


class Lasting(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a rule remembers of one key.

    Attributes:
        episode: the one that lasts, or None.
        turns: the events that opened and ended the newest episodes.
    """

    episode: Episode | None = None
    turns: tuple[Occurrence, ...] = ()


class Step(enum.Enum):
    """What an event is to an episode."""

    NOTHING = "nothing"
    TOLD = "told"  # it opens one, makes it worse or repeats it
    ENDED = "ended"
    FLEETING = "fleeting"  # it came late: what it opened was over already


def step(
    state: Lasting, event: Occurrence, reached: Severity | None, cleared: bool
) -> tuple[Lasting, Step, Episode | None]:
    """Takes one event.

    Args:
        state: what is remembered.
        event: the event.
        reached: the severity whose limit it reaches, or None.
        cleared: True where it ends an episode.

    Returns:
        What is to be remembered, what the event is, and the episode that it belongs to.
    """
    if _is_twin(state, event):
        return _turned(state.episode, state, event), Step.NOTHING, None
    if state.episode is not None:
        return _while_open(state, state.episode, event, reached, cleared)
    if reached is None:
        return state, Step.NOTHING, None
    episode = Episode(event.time, reached)
    if state.turns and event.time < max(turn.time for turn in state.turns):
        return state, Step.FLEETING, episode
    return _turned(episode, state, event), Step.TOLD, episode


def _while_open(
    state: Lasting, episode: Episode, event: Occurrence, reached: Severity | None, cleared: bool
) -> tuple[Lasting, Step, Episode | None]:
    if reached is not None:
        worst = Episode(episode.since, max(episode.severity, reached))
        return Lasting(worst, state.turns), Step.TOLD, worst
    if not cleared or event.time < episode.since:
        return state, Step.NOTHING, None
    return _turned(None, state, event), Step.ENDED, episode


def _is_twin(state: Lasting, event: Occurrence) -> bool:
    """Says whether the same event came by another road before, and turned the state then."""
    roads = Counter(
        turn.road
        for turn in state.turns
        if turn.mark == event.mark and abs(turn.time - event.time) < TWIN_WINDOW
    )
    return any(count > roads[event.road] for count in roads.values())


def _turned(episode: Episode | None, state: Lasting, event: Occurrence) -> Lasting:
    return Lasting(episode, (*state.turns, event)[-_TURNS:])
