"""Channel `apprise`: Slack, Telegram, SMS or any other of its services, by an Apprise URL."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pydantic import ConfigDict, Field, SecretStr, ValidationInfo, field_validator

from ...domain.delivery import Message, Outcome, Retry, Sent
from ...domain.escape import clip, inert
from ...domain.formats import Formats
from ...domain.model import Severity
from .addresses import secret_parts
from .base import ChannelSettings, PerMinute, Waiting, needed_address
from .common import answer_line, event_time, facts, fitting, headline, paragraphs
from .http import verdict

if TYPE_CHECKING:
    from apprise import Apprise, AppriseResult

_STATUS = re.compile(r"error=([345]\d\d)\b")  # how Apprise logs what a server answered
_WAIT = 60.0  # seconds after a rate limit; Apprise does not say what the server asked for
_TALKATIVE = ("apprise", "urllib3", "requests")  # their debug lines show addresses, keys and all
_MAX_TEXT = 1400  # characters: nine SMS
_TYPES = {Severity.CRITICA: "failure", Severity.ALTA: "warning"}


class AppriseSettings(ChannelSettings):
    """`notification_config.<name>` with `type: apprise`; URLs: appriseit.com/services."""

    model_config = ConfigDict(hide_input_in_errors=True)
    names: ClassVar[int] = 8
    per_minute: PerMinute = 20.0
    digest_above: Waiting = 20

    url: SecretStr | None = Field(default=None, validate_default=True)

    @property
    def address(self) -> SecretStr | None:
        """The URL."""
        return self.url

    @field_validator("url")
    @classmethod
    def _is_known(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        return needed_address(value, info, _service)


class AppriseChannel:
    """Tells one alert at a time, through one service.

    Raises:
        ValueError: the settings are of a disabled channel, or of a service that Apprise lacks.
    """

    max_batch = 1

    def __init__(self, settings: AppriseSettings, formats: Formats | None = None) -> None:
        if settings.url is None:
            raise ValueError("el canal apprise necesita url")
        address = settings.url.get_secret_value()
        self._service = _service(address, settings.timeout)
        self._name = str(self._service[0].service_name)
        self._secrets = secret_parts(address)
        self._timeout = settings.timeout
        self._formats = formats or Formats()

    async def send(self, batch: Sequence[Message]) -> Outcome:
        """Hands the alert to Apprise, which talks to the service in threads of its own."""
        (message,) = batch
        result = await self._service.async_notify(
            title=inert(headline(message)),
            body=inert(clip(self._text(message), _MAX_TEXT)),
            notify_type="success" if message.recovered else _TYPES.get(message.severity, "info"),
            body_format="text",
            timeout=self._timeout,
        )
        return Sent() if result else self._refused(result)

    async def close(self) -> None:
        """Has nothing to give back: Apprise opens a connection for each message."""

    def _text(self, message: Message) -> str:
        about = [f"{label}: {value}" for label, value in facts(message)]
        moment = self._formats.to_the_second(event_time(message, self._formats.tzinfo))
        about += [f"Hora: {moment}", f"ID: {message.reference}"]
        room = _MAX_TEXT - sum(len(line) + 1 for line in about)
        return "\n".join((*fitting(paragraphs(message), room), *about))

    def _refused(self, result: AppriseResult) -> Outcome:
        told = [e.message for e in result.logs() if e.level in ("WARNING", "ERROR", "CRITICAL")]
        answers = [found for line in told if (found := _STATUS.search(line))]
        line = answers[-1].string if answers else told[-1] if told else "no dice por qué"
        reason = f"{self._name}: {answer_line(line, self._secrets)}"
        if not answers:
            return Retry(reason)
        limited = Retry(reason, after=_WAIT, throttled=True)
        return verdict(int(answers[-1][1]), reason, "revisa url en notification_config", limited)


def _service(address: str, timeout: float = 1.0) -> Apprise:
    for logger in map(logging.getLogger, _TALKATIVE):
        logger.setLevel(logging.WARNING)
        logger.propagate = False  # what goes wrong is in the outcome
    with warnings.catch_warnings():  # it asks for modules that Python will not have for ever
        warnings.simplefilter("ignore", DeprecationWarning)
        from apprise import Apprise, AppriseAsset  # a quarter of a second, for those who use it

        asset = AppriseAsset(service_timeout=timeout, storage_mode="memory", http_redirects=False)
        service = Apprise(asset=asset)
        added = service.add(address)
    if not added or len(service) != 1:
        raise ValueError("Apprise no conoce ese servicio, o le falta una parte (valor oculto)")
    if (targets := len(service[0])) > 1:  # it does not say whom of them it told
        raise ValueError(
            f"la dirección avisa a {targets} destinos; se espera uno: un canal para cada uno"
        )
    return service
