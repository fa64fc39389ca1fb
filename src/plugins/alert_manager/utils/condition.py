"""How one channel is doing: its breaker, the time before which its server does not want us."""

from __future__ import annotations

import logging
import time

from ..domain.breaker import Breaker
from ..domain.delivery import ChannelState, Disabled, Outcome, Progress, Rejected, Retry, Sent
from ..ports import ChannelWatch
from ..settings import BreakerSettings

log = logging.getLogger("corec.alert_manager.delivery")

LONG = 30.0  # seconds; a channel that may not tell for longer is as good as down
_LEAST_WAIT = 0.1  # seconds; a server that says "again in 0 s" must not be asked without pause
_MOST_DOUBLED = 6  # times that this doubles, as long as it says nothing else


class Condition:
    """Learns from what becomes of messages, and tells who watches."""

    def __init__(self, name: str, breaker: BreakerSettings, watch: ChannelWatch) -> None:
        self._name = name
        self._breaker = Breaker(breaker.max_failures, breaker.reset_timeout)
        self._watch = watch
        self._not_before = 0.0
        self._no_time = 0  # times in a row that it asked us to wait for none
        self._is_long = False  # what it has asked us to wait
        self._said_down = self._said_up = False
        self.disabled: str | None = None
        """Why no further message is tried, or None."""
        self.last_error: str | None = None
        """The reason of the last failure, or None after a success."""

    @property
    def is_open(self) -> bool:
        """True while the breaker is open."""
        return self._breaker.is_open

    @property
    def cannot_tell(self) -> bool:
        """True while its fallback has to tell what is urgent."""
        return self.is_open or self.disabled is not None or self._is_held

    @property
    def _is_held(self) -> bool:
        return self._is_long and time.monotonic() < self._not_before

    def state(self) -> ChannelState:
        """Returns how the channel is doing."""
        breaker = self._breaker.state(time.monotonic())
        return ChannelState(breaker, self._is_held, self.disabled, self.last_error)

    def wait(self, now: float) -> float:
        """Returns the seconds until something may be sent (negative: since then)."""
        return max(self._breaker.wait(now), self._not_before - now)

    def hold(self, seconds: float) -> None:
        """Sends nothing for so long, as its server asked."""
        least = _LEAST_WAIT * 2 ** min(self._no_time, _MOST_DOUBLED)
        self._not_before = time.monotonic() + (least if seconds < _LEAST_WAIT else seconds)
        self._is_long = seconds > LONG

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
                    self._wait_as_asked(after, reason)
                if not throttled:
                    self._fail(reason)
            case Disabled(reason):
                self.last_error = self.disabled = reason
                log.critical("%s: canal deshabilitado: %s", self._name, reason)
                self._say_down(reason)

    def _wait_as_asked(self, seconds: float, reason: str) -> None:
        self.hold(seconds)
        self._no_time = self._no_time + 1 if seconds < _LEAST_WAIT else 0
        if self._is_long and not self._said_down:
            log.error("%s: no se puede avisar durante %.0f s: %s", self._name, seconds, reason)
            self._say_down(reason)

    def _works(self, trouble: str | None) -> None:
        self._no_time = 0
        self._is_long = False
        if self._said_down:
            log.warning("%s: el canal funciona de nuevo", self._name)
        if not self._said_up:
            self._watch.channel_up(self._name)
        self._said_down, self._said_up = False, True
        self._breaker = self._breaker.succeeded()
        self.last_error = trouble

    def _fail(self, reason: str) -> None:
        was_open = self._breaker.is_open
        self._breaker = self._breaker.failed(time.monotonic())
        if self._breaker.is_open and not was_open:
            log.error("%s: circuit breaker abierto: %s", self._name, reason)
            self._say_down(reason)

    def _say_down(self, reason: str) -> None:
        if not self._said_down:
            self._watch.channel_down(self._name, reason)
        self._said_down, self._said_up = True, False
