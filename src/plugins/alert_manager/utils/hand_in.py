"""Tells alert_db what people were told while it did not answer, so that nobody is told twice."""

from __future__ import annotations

import asyncio
import logging

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812

from ..domain.errors import SpoolUnusableError
from .commit import LOCK_CLASS
from .pg import PgSession
from .queries import query
from .spool import Spool
from .spooled import Told

log = logging.getLogger("corec.alert_manager.delivery")


class HandIn:
    """Hands in what the spool's messages came to."""

    def __init__(self, spool: Spool, session: PgSession) -> None:
        self._spool = spool
        self._session = session
        self._turn = asyncio.Lock()

    async def report(self) -> None:
        """Marks as told what was told; and what is stored from now on, when it is stored.

        Who stores or claims afterwards may rely on it, also where somebody else's is under way.

        Raises:
            NotNowError: alert_db does not answer.
        """
        if not self._spool.unreported and not self._turn.locked():
            return
        async with self._turn:
            if not self._spool.unreported:
                return
            self._spool.unreported = False  # what is told from here on is for the next time
            try:
                await self._report()
            except SpoolUnusableError as error:
                self._spool.unreported = True
                log.error("no se sabe qué se avisó sin alert_db, puede llegar dos veces: %s", error)
            except BaseException:
                self._spool.unreported = True
                raise

    async def _report(self) -> None:
        told = await self._spool.told()
        if told:
            # What was stored before we came, should alert_db go away again.
            marked = await self._session.run(lambda connection: _store(connection, told))
            self._spool.untold.marked(marked)
            await self._spool.reported(told)


def _store(connection: Connection, told: list[Told]) -> list[tuple[int, str]]:
    """Returns the alerts, and their channels, that had been stored already."""
    arguments = {
        "fingerprint": [psycopg2.Binary(one.fingerprint) for one in told],
        "timestamp": [one.timestamp for one in told],
        "window": [one.window for one in told],
        "channel": [one.channel for one in told],
        "told_at": [one.told_at for one in told],
        "attempts": [one.attempts for one in told],
        "answer": [one.answer for one in told],
        "external_id": [one.external_id for one in told],
        "progress": [one.progress for one in told],
    }
    with connection, connection.cursor() as cursor:
        # Before or after a commit, never beside one: it would see nothing of us, nor we of it.
        cursor.execute(query("serialise_commits"), {"key": LOCK_CLASS})
        cursor.execute(query("told_ahead_put"), arguments)
        cursor.execute(query("told_ahead_apply"), {"ids": None})
        return [(alert_id, channel) for alert_id, channel in cursor]
