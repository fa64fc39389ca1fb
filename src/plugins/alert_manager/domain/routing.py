"""Who is told of an alert: the first route that fits says so, or the default."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .model import URGENT, Payload, Severity

Names = frozenset[str]


@dataclass(frozen=True, slots=True)
class Route:
    """Alerts of a kind, and the notification channels that tell them.

    Attributes:
        rules: names of rules; None: of any. The same for what follows.
        channels: CoreC channels.
        plugins: values of the event's `plugin`.
        users: values of the event's `user_id`.
        min_severity: the least urgent.
        to: names of notification channels.
        goes_on: True where the routes after it count, too.
    """

    to: tuple[str, ...]
    rules: Names | None = None
    channels: Names | None = None
    plugins: Names | None = None
    users: Names | None = None
    min_severity: Severity = Severity.BAJA
    goes_on: bool = False

    def fits(self, severity: Severity, rule: str, channel: str, plugin: str, user: str) -> bool:
        """Says whether it is about such an alert."""
        return (
            severity >= self.min_severity
            and (self.rules is None or rule in self.rules)
            and (self.channels is None or channel in self.channels)
            and (self.plugins is None or plugin in self.plugins)
            and (self.users is None or user in self.users)
        )


class Router:
    """Finds the notification channels of an alert.

    Args:
        least: every notification channel in use, with the least severity that it tells.
        always: those of them that tell whatever there is, as the log does.
        routes: in their order.
        default: who is told where no route fits; None: all of them.
    """

    def __init__(
        self,
        least: Mapping[str, Severity],
        always: Iterable[str] = (),
        routes: Sequence[Route] = (),
        default: Sequence[str] | None = None,
    ) -> None:
        self._least = dict(least)
        self._always = frozenset(always)
        self._routes = tuple(routes)
        self._default = frozenset(least if default is None else default)
        self._found = lru_cache(maxsize=4096)(self._find)

    def targets(
        self, severity: Severity, rule: str, channel: str, data: Payload
    ) -> tuple[str, ...]:
        """Returns the names of the notification channels that tell an alert, in their order.

        `data` is the redacted payload of its event.
        """
        return self._found(
            severity, rule, channel, _name(data.get("plugin")), _name(data.get("user_id"))
        )

    def admitting(self, severity: Severity) -> tuple[str, ...]:
        """Returns the names of all notification channels that tell alerts of a severity."""
        return tuple(n for n, least in self._least.items() if severity >= least)

    def _find(
        self, severity: Severity, rule: str, channel: str, plugin: str, user: str
    ) -> tuple[str, ...]:
        routed: list[str] = []
        for route in self._routes:
            if route.fits(severity, rule, channel, plugin, user):
                routed += route.to
                if not route.goes_on:
                    break
        # What nobody hears is told to more people, rather than to none.
        chosen = next(
            (set(names) for names in (routed, self._default) if self._is_heard(names, severity)),
            self._least.keys(),
        )
        told = chosen | self._always
        return tuple(n for n, least in self._least.items() if n in told and severity >= least)

    def _is_heard(self, names: Collection[str], severity: Severity) -> bool:
        """Says whether channels are an answer to who is told: channels of people, switched on.

        Less urgent alerts may be too little for all of them; the log alone may be meant.
        """
        people = [name for name in names if name not in self._always]
        least = [self._least[name] for name in people if name in self._least]
        if not least:
            return bool(names) and not people
        return severity < URGENT or severity >= min(least)


def _name(value: Any) -> str:
    return str(value)[:100] if isinstance(value, str | int) else ""
