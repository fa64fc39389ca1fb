"""What every notification channel is: a settings model and a `send` that never raises for a server.

A new channel is one file beside this one, with a subclass of `ChannelSettings` and a class with the
shape of `Channel`, and one line in `registry.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Protocol

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
)

from ...domain.delivery import Message, Outcome
from ...domain.model import Severity


def _severity(value: Any) -> Any:
    return Severity.parse(value) if isinstance(value, str) else value


SeverityField = Annotated[Severity, BeforeValidator(_severity)]


class ChannelSettings(BaseModel):
    """What `notification_config.<name>` may say for any channel.

    `timeout` bounds one send, in seconds. It stays under what a worker gives to a send (50 s), and
    that under the lease of a claim (60 s), or somebody else would take the message while a slow
    server is still being told.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, coerce_numbers_to_str=True)

    enabled: bool = True
    min_severity: SeverityField = Severity.BAJA
    timeout: float = Field(default=20.0, gt=0, le=45)


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
