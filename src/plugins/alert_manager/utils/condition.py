"""How one channel is doing: its breaker, the time before which its server does not want us."""

from __future__ import annotations

import logging
import time

from ..domain.breaker import Breaker
from ..domain.delivery import ChannelState, Disabled, Outcome, Progress, Rejected, Retry, Sent
from ..metrics import Metrics
from ..ports import ChannelWatch
from ..settings import BreakerSettings

log = logging.getLogger("corec.alert_manager.delivery")

_LEAST_WAIT = 0.1  # seconds; a server that says "again in 0 s" must not be asked without pause


class Condition:
    """Learns from what becomes of messages, and tells who watches."""

    def __init__(
        self, name: str, breaker: BreakerSettings, metrics: Metrics, watch: ChannelWatch
    ) -> None:
        self._name = name
        self._breaker = Breaker(breaker.max_failures, breaker.reset_timeout)
        self._metrics = metrics
        self._watch = watch
        self._not_before = 0.0
        self.disabled: str | None = None
        """Why no further message is tried, or None."""
        self.last_error: str | None = None
        """The reason of the last failure, or None after a success."""

    @property
    def is_open(self) -> bool:
        """True while the breaker is open."""
        return self._breaker.is_open

    def state(self) -> ChannelState:
        """Returns how the channel is doing."""
        return ChannelState(self._breaker.is_open, self.disabled, self.last_error)

    def wait(self, now: float) -> float:
        """Returns the seconds until something may be sent (negative: since then)."""
        return max(self._breaker.wait(now), self._not_before - now)

    def hold(self, seconds: float) -> None:
        """Sends nothing for so long."""
        self._not_before = time.monotonic() + max(seconds, _LEAST_WAIT)

    def learn(self, outcome: Outcome) -> None:
        """Moves the breaker, and the time before which the server does not want us."""
        match outcome:
            case Sent(_, refused):
                self._works(refused)
            case Rejected(reason) | Retry(reason, progress=Progress(told=True)):
                # The server does its work; what it does not take is one message, or one recipient.
                self._works(reason)
            case Retry(reason, after, throttled):
                self.last_error = reason
                if after is not None:
                    self.hold(after)
                if not throttled:
                    self._fail(reason)
            case Disabled(reason):
                self.last_error = self.disabled = reason
                log.critical("%s: canal deshabilitado hasta reiniciar: %s", self._name, reason)
                self._watch.channel_down(self._name, reason)
        self._metrics.breaker_open.labels(self._name).set(int(self._breaker.is_open))

    def _works(self, trouble: str | None) -> None:
        if self._breaker.is_open:
            log.warning("%s: el canal funciona de nuevo", self._name)
            self._watch.channel_up(self._name)
        self._breaker = self._breaker.succeeded()
        self.last_error = trouble

    def _fail(self, reason: str) -> None:
        was_open = self._breaker.is_open
        self._breaker = self._breaker.failed(time.monotonic())
        if self._breaker.is_open and not was_open:
            log.error("%s: circuit breaker abierto: %s", self._name, reason)
            self._watch.channel_down(self._name, reason)
