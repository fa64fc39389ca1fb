"""What is found becomes alerts to be: redacted, worded, fingerprinted. No I/O, no clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from .domain.context import Context
from .domain.fingerprint import fingerprint
from .domain.model import Event, Match, Payload, Severity
from .domain.numbers import Trouble
from .domain.outcome import Candidate, Resolution
from .domain.paths import parse_path
from .domain.redact import counterpart, redact
from .domain.render import Words, recovery
from .domain.rule_spec import RuleSpec
from .domain.rules import Found
from .domain.tracking import Tracked
from .letters import MAX_CHANNEL
from .settings import Loaded

_ALWAYS = 1000 * 365 * 86400.0  # seconds
OWN_SOURCE = "alert_manager"  # of alerts that no event brought
# A field that holds no number is one state of its writer, whatever else the events say.
_INVALID_IDENTITY = tuple(map(parse_path, ("plugin", "exchange", "symbol", "user_id")))


class Candidates:
    """Makes alerts of what rules find, by one configuration."""

    def __init__(self, specs: Mapping[str, RuleSpec], context: Context, loaded: Loaded) -> None:
        self._specs = specs
        self._context = context
        self._formats = loaded.settings.alert_config.formats()
        self._router = loaded.router()

    def of_event(self, event: Event, found: Iterable[Found]) -> list[Candidate]:
        """Returns the alerts of what rules found in an event; what they only observed is none."""
        matches = [one for one in found if isinstance(one, Match)]
        if not matches:
            return []
        safe = redact(event.data)
        return [self._candidate(event, safe, match) for match in matches]

    def of_tracked(self, event: Event | None, tracked: Tracked) -> list[Candidate]:
        """Returns the alerts of what an event came to with what a rule remembers.

        `event` is None where one did not come.
        """
        match = tracked.match
        if match is None:
            return []
        if tracked.about is not None and match.since is not None:
            channel = self._specs[match.rule].channels[0]
            event = Event(OWN_SOURCE, None, channel, tracked.about, match.since, None)
        return [] if event is None else self.of_event(event, [match])

    def resolutions(self, rule: str, event: Event, tracked: Tracked) -> list[Resolution]:
        """Returns the end of an alert of this rule, where the event was one."""
        since = tracked.ended
        if since is None:
            return []
        spec = self._specs[rule]
        safe = redact(event.data)
        about = safe if tracked.about is None else tracked.about
        match = Match(rule, spec.least_severity, tracked.value)
        end = Resolution(
            fingerprints=tuple(
                fingerprint(spec.name, severity, about, spec.identity, since)
                for severity in Severity  # it may have been told as the file of then had it
            ),
            message=recovery(
                Words(spec, match, event.channel, safe, event.timestamp, self._formats)
            ),
            timestamp=event.timestamp,
        )
        return [end]

    def _candidate(self, event: Event, safe: Payload, match: Match) -> Candidate:
        spec = self._specs[match.rule]
        identity, name, window = spec.identity, spec.name, spec.window
        if match.invalid:
            identity, name = _INVALID_IDENTITY, f"{spec.name}: invalid"
            match = msgspec.structs.replace(match, value=_shown(event.data, safe, match.value))
        if match.since is not None:  # all of it is one alert, however long it lasts
            window = _ALWAYS
        return Candidate(
            source=event.source,
            event_id=event.event_id,
            channel=event.channel[:MAX_CHANNEL],
            rule=spec.name,
            severity=match.severity,
            words=Words(spec, match, event.channel, safe, event.timestamp, self._formats),
            event_data=safe,
            timestamp=event.timestamp,
            instance_id=event.instance_id,
            fingerprint=fingerprint(name, match.severity, safe, identity, match.since),
            window=window,
            targets=self._router.targets(match.severity, spec.name, event.channel, safe),
            wanted=self._context.wanted(event.channel, event.data),
        )


def _shown(data: Payload, safe: Payload, value: Any) -> Any:
    """Returns an invalid value as it may be shown: by its place in the event it may be a secret."""
    if isinstance(value, Trouble | float | bool):
        return value
    return counterpart(data, safe, value)
