"""Thresholds that are changed at run time, by commands on `alert_data`. Values in, values out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from .dedupe import TWIN_WINDOW
from .escape import single_line
from .model import Event, Payload
from .numbers import as_number
from .outcome import Change
from .redact import redact_text

ACTION = "update_threshold"
FOLLOWED = 20  # commands about one threshold that another road may still bring
SUFFIX = "_threshold"
_MAX_SHOWN = 50  # characters of what somebody wrote that are repeated to people


class CommandError(Exception):
    """A command that changes nothing; says why, in a sentence for a person."""


class Followed(NamedTuple):
    """A command that was followed: its event time (epoch seconds), and the number that it set."""

    timestamp: float
    value: float


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold as it counts now.

    Attributes:
        value: the number that rules use.
        low: the lowest that a command may set.
        high: the highest.
        base: the number in the configuration.
        changed: event time of the last command that set it (epoch seconds); 0 without one.
        followed: event time and number of the last commands about it.
    """

    value: float
    low: float
    high: float
    base: float
    changed: float = 0.0
    followed: tuple[Followed, ...] = ()


Thresholds = Mapping[str, Threshold]


@dataclass(frozen=True, slots=True)
class StoredThresholds:
    """What commands have set.

    Attributes:
        version: number of the newest change of all.
        changes: the newest change of each threshold, by its name.
        followed: the last commands about each of them.
    """

    version: int = 0
    changes: Mapping[str, Change] = field(default_factory=dict)
    followed: Mapping[str, tuple[Followed, ...]] = field(default_factory=dict)

    def changed_by(self, changes: Iterable[Change]) -> StoredThresholds:
        """Returns what counts after one more command."""
        newest, followed = dict(self.changes), dict(self.followed)
        for change in changes:
            newest[change.name] = change
            before = followed.get(change.name, ())
            followed[change.name] = (Followed(change.timestamp, change.new), *before)[:FOLLOWED]
        return StoredThresholds(self.version + 1, newest, followed)


def is_command(data: Payload) -> bool:
    """Says whether an event on `alert_data` wants something; reports do not."""
    return data.get("action") is not None


def read_command(
    event: Event, thresholds: Thresholds, fault: Callable[[Mapping[str, float]], str | None]
) -> tuple[Change, ...]:
    """Returns what a command changes; nothing where all of it is so already.

    Args:
        event: the command.
        thresholds: as they count now.
        fault: says what is wrong with a set of values, by name, or None.

    Raises:
        CommandError: it cannot be followed; nothing of it is.
    """
    data = event.data
    if data["action"] != ACTION:
        found = _shown(data["action"])
        raise CommandError(f"action: se encontró {found!r}; se permite: {ACTION}")
    wanted = {
        key.removesuffix(SUFFIX): value for key, value in data.items() if key.endswith(SUFFIX)
    }
    if not wanted:
        raise CommandError(f"{ACTION} sin umbral; se espera por ejemplo vix{SUFFIX}: 22")
    changes = [_change(name, value, event, thresholds) for name, value in wanted.items()]
    new = _values(thresholds)
    new |= {change.name: change.new for change in changes}
    if (reason := fault(new)) is not None:
        raise CommandError(f"así las reglas no tendrían sentido: {reason}")
    return tuple(change for change in changes if change.new != change.old)


def _change(name: str, value: object, event: Event, thresholds: Thresholds) -> Change:
    threshold = thresholds.get(name)
    if threshold is None:
        known = ", ".join(f"{known}{SUFFIX}" for known in sorted(thresholds)) or "ninguno"
        raise CommandError(f"no existe {_shown(name)}{SUFFIX}; se permite: {known}")
    number = as_number(value)
    if number is None:
        raise CommandError(f"{name}{SUFFIX}: se espera un número")
    if not threshold.low <= number <= threshold.high:
        raise CommandError(
            f"{name}{SUFFIX}: se encontró {number:g}; "
            f"se permite de {threshold.low:g} a {threshold.high:g}"
        )
    if number != threshold.value and event.timestamp < threshold.changed:
        if not _was_followed(threshold, number, event.timestamp):
            raise CommandError(f"{name}{SUFFIX}: otra orden más nueva ya lo cambió")
        number = threshold.value  # by another road
    asked = _shown(event.data.get("plugin") or event.data.get("user_id") or "sin nombre")
    who = f"{asked} ({event.instance_id or event.source})"
    return Change(name, threshold.value, number, threshold.base, event.timestamp, who)


def _was_followed(threshold: Threshold, number: float, timestamp: float) -> bool:
    return any(
        followed.value == number and abs(followed.timestamp - timestamp) < TWIN_WINDOW
        for followed in threshold.followed
    )


def _shown(value: object) -> str:
    return redact_text(single_line(str(value)[:1000]))[:_MAX_SHOWN]


def current(
    configured: Mapping[str, tuple[float, float, float]],
    stored: StoredThresholds,
) -> dict[str, Threshold]:
    """Returns the thresholds that count.

    Args:
        configured: value, lowest and highest by name, from the configuration.
        stored: what commands changed. A change is void once the configuration has another value
            than while it was made: who edits the file speaks last.
    """
    thresholds: dict[str, Threshold] = {}
    for name, (value, low, high) in configured.items():
        change = stored.changes.get(name)
        if change is None or change.base != value or not low <= change.new <= high:
            thresholds[name] = Threshold(value, low, high, value)
        else:
            followed = stored.followed.get(name, ())
            thresholds[name] = Threshold(change.new, low, high, value, change.timestamp, followed)
    return thresholds


def fitting(
    configured: Mapping[str, tuple[float, float, float]],
    stored: StoredThresholds,
    fault: Callable[[Mapping[str, float]], str | None],
) -> tuple[dict[str, Threshold], dict[str, str]]:
    """Returns the thresholds that count, and those of a command that give way to the file's.

    The file may have been edited since, so that rules would make no sense any more: then as few
    changes as can be are given up, the newest first.

    Args:
        configured: as of `current`.
        stored: as of `current`.
        fault: says what is wrong with a set of values, by name, or None.

    Returns:
        The thresholds; and by the name of each that gave way, what was wrong.
    """
    changes, given_up = dict(stored.changes), dict[str, str]()
    while True:
        found = current(configured, replace(stored, changes=changes))
        reason = fault(_values(found))
        if reason is None or not changes:
            return found, given_up
        newest_first = sorted(changes.values(), key=lambda change: -change.timestamp)
        culprit = newest_first[0].name
        for change in newest_first:
            left = {name: other for name, other in changes.items() if name != change.name}
            if fault(_values(current(configured, StoredThresholds(0, left)))) is None:
                culprit = change.name
                break
        given_up[culprit] = reason
        del changes[culprit]


def _values(thresholds: Thresholds) -> dict[str, float]:
    return {name: threshold.value for name, threshold in thresholds.items()}
