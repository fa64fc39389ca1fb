"""What every notification channel is: a settings model and a `send` that never raises for a server.

A new channel is one file beside this one, with a subclass of `ChannelSettings` and a class with the
shape of `Channel`, and one line in `registry.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Annotated, Any, ClassVar, Protocol, runtime_checkable

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
)

from ...domain.delivery import Message, Outcome
from ...domain.digest import MOST, NAMED
from ...domain.model import Severity
from ...domain.pacing import Pace
from ...interval_settings import ActiveSettings


def _severity(value: Any) -> Any:
    return Severity.parse(value) if isinstance(value, str) else value


SeverityField = Annotated[Severity, BeforeValidator(_severity)]


PerMinute = Annotated[float | None, Field(gt=0, le=100_000)]
"""Messages a minute; None: as many as the server takes."""
Waiting = Annotated[int | None, Field(ge=1, le=MOST)]
"""A number of alerts that wait; None: any."""


class ChannelSettings(BaseModel):
    """What `notification_config.<name>` may say for any channel.

    `active`: when all alerts are told; at other times, critical ones alone.
    `per_minute`, `burst`: messages on average, and at once. `digest_above`: when more alerts than
    this wait, they go in one message. `fallback`: the channel that tells alerts of severity alta
    and above while this one cannot.
    `names`: critical alerts that one message has room to name; more go in several.
    `timeout` bounds one send, in seconds. It stays under what a worker gives to a send (50 s), and
    that under the lease of a claim (60 s), or somebody else would take the message while a slow
    server is still being told.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    names: ClassVar[int] = NAMED
    enabled: bool = True
    min_severity: SeverityField = Severity.BAJA
    timeout: float = Field(default=20.0, gt=0, le=45)
    active: ActiveSettings | None = None
    per_minute: PerMinute = None
    burst: int = Field(default=10, ge=1, le=100_000)
    digest_above: Waiting = None
    fallback: str | None = None

    @property
    def address(self) -> SecretStr | None:
        """The address that its server's limits are about; None where it has no such limits."""
        return None

    def pace(self, zone: str) -> Pace:
        """Returns what the channel keeps to; `zone` counts where `active` names none."""
        address = "" if self.address is None else self.address.get_secret_value()
        target = sha256(address.encode()).hexdigest()[:16] if address else ""
        active = None if self.active is None else self.active.intervals(zone)
        return Pace(
            self.per_minute,
            self.burst,
            self.digest_above,
            active,
            self.fallback,
            self.names,
            target,
        )


def needed_address(
    value: SecretStr | None, info: ValidationInfo, check: Callable[[str], object]
) -> SecretStr | None:
    """Returns a channel's address, which an enabled channel cannot do without.

    Raises:
        ValueError: it is missing; or what `check` raises about it.
    """
    address = value.get_secret_value().strip() if value else ""
    if info.data.get("enabled"):
        if not address:
            raise ValueError("falta; es obligatorio mientras el canal esté activo (enabled: true)")
        check(address)
    return SecretStr(address) if address else None


class Channel(Protocol):
    """One way to tell people.

    `max_batch` is the number of messages that one call of `send` takes at the most. `send` returns
    one outcome for the whole batch and raises nothing that a server or the network caused; its
    reasons are sentences for a person, in Spanish, without secrets. A batch that is `Rejected` is
    sent again one by one, so that only what is at fault is given up. It may be cancelled at any
    await, when CoreC stops; then the message goes out again later.
    """

    max_batch: int

    async def send(self, batch: Sequence[Message]) -> Outcome:
        """Tells about every alert of the batch, in one request."""
        ...

    async def close(self) -> None:
        """Gives back connections."""
        ...


@runtime_checkable
class Probed(Protocol):
    """A channel that can say whether it would work, without telling anybody anything."""

    async def probe(self) -> Outcome:
        """Asks its server as far as that goes; `Sent` where nothing hinders a message."""
        ...
