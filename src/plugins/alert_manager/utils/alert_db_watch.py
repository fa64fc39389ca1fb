"""Whether alert_db is there, as its sessions see it."""

from __future__ import annotations

from .pg import PgSession


class AlertDbWatch:
    """Watches the sessions that store and tell; asks by one of its own; lets those that tell go on.

    What people were told meanwhile is handed in by a telling session before anything is stored.
    Messages are claimed and handed over there, too: while nothing answers, each channel would wait
    for an answer instead of telling what is known.
    """

    def __init__(self, storing: PgSession, asking: PgSession, *telling: PgSession) -> None:
        self._storing = storing
        self._asking = asking
        self._telling = telling

    @property
    def unanswered_since(self) -> float | None:
        """Since when what is asked there was not answered (monotonic); None: it was."""
        silent = (session.unanswered_since for session in (self._storing, *self._telling))
        return min((since for since in silent if since is not None), default=None)

    async def probe(self, limit: float) -> None:
        """Asks for an answer within `limit` seconds.

        Raises:
            DatabaseUnavailableError: none came.
        """
        await self._asking.probe(limit)

    def refuse(self) -> None:
        """Makes calls of the telling sessions fail at once."""
        for session in self._telling:
            session.refuse()

    def accept(self) -> None:
        """Lets them ask again."""
        for session in self._telling:
            session.accept()
