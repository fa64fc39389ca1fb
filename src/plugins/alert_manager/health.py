"""What `/health` says: each part's state, and whether the whole does its job."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from .domain.errors import NotNowError
from .domain.redact import redact_text

_ANSWER = 4.5  # seconds that a part has to answer; who asks us often waits for 5


@dataclass(frozen=True, slots=True)
class Part:
    """The state of one part.

    Attributes:
        detail: a sentence for a person, without secrets.
        vital: False where the job is done without it, if less well.
        restart: True where a restart of the process is what mends it.
    """

    ok: bool
    detail: str
    vital: bool = True
    restart: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """The state of all parts, by name."""

    parts: Mapping[str, Part]

    @property
    def ok(self) -> bool:
        """True when every part works."""
        return not self.wrong

    @property
    def state(self) -> str:
        """`ok`, `degradado` when nothing vital is wrong, or `error`."""
        if self.ok:
            return "ok"
        return "error" if any(self.parts[name].vital for name in self.wrong) else "degradado"

    @property
    def wrong(self) -> tuple[str, ...]:
        """The names of the parts that do not work."""
        return tuple(name for name, part in self.parts.items() if not part.ok)

    def as_json(self) -> dict[str, Any]:
        """Returns the body of `/health`."""
        return {
            "estado": self.state,
            "mal": list(self.wrong),
            "partes": {
                name: {"ok": part.ok, "detalle": part.detail, "vital": part.vital}
                for name, part in self.parts.items()
            },
        }


class Question(NamedTuple):
    """A part that has to be asked.

    Attributes:
        ask: returns what there is to say of it; raises `NotNowError` where it does not work.
    """

    ask: Callable[[], Awaitable[str]]
    vital: bool = True


class Health:
    """Says how every part is.

    Args:
        questions: the parts that have to be asked, by name.
        known: says what is known of the others without asking.
    """

    def __init__(
        self, questions: Mapping[str, Question], known: Callable[[], Mapping[str, Part]]
    ) -> None:
        self._questions = questions
        self._known = known
        self._asking: asyncio.Task[Report] | None = None

    async def report(self) -> Report:
        """Returns the state now, within 5 s; who asks at the same time shares one answer."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._ask_all())
        return await asyncio.shield(self._asking)

    def to_restart(self) -> tuple[str, ...]:
        """Returns the names of the parts that only a restart mends; asks nobody."""
        return tuple(name for name, part in self._known().items() if part.restart)

    async def _ask_all(self) -> Report:
        answers = await asyncio.gather(*(_answer(one) for one in self._questions.values()))
        parts = {**dict(zip(self._questions, answers, strict=True)), **self._known()}
        return Report({name: _without_secrets(part) for name, part in parts.items()})


async def _answer(question: Question) -> Part:
    try:
        async with asyncio.timeout(_ANSWER):
            return Part(True, await question.ask(), question.vital)
    except NotNowError as error:
        return Part(False, str(error), question.vital)
    except TimeoutError:
        return Part(False, f"sin respuesta en {_ANSWER:g} s", question.vital)
    except Exception as error:  # noqa: BLE001  (the others are still to be told)
        return Part(False, f"fallo inesperado: {type(error).__name__}", question.vital)


def _without_secrets(part: Part) -> Part:
    return replace(part, detail=redact_text(part.detail))
