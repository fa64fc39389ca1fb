"""Tells alert_db what people were told while it did not answer, so that nobody is told twice."""

from __future__ import annotations

import asyncio
import logging
from functools import partial

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812

from ..domain.errors import DatabaseUnavailableError, SpoolUnusableError
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
        self._failures = 0
        self._failure = ""

    async def report(self) -> None:
        """Marks as told what was told; and what is stored from now on, when it is stored.

        Who stores or claims afterwards may rely on it, also where somebody else's is under way;
        but not where the spool cannot be read, of which the log tells.

        Raises:
            DatabaseUnavailableError: alert_db does not answer, or does not take it.
        """
        if not self._spool.unreported and not self._turn.locked():
            return
        failures = self._failures
        async with self._turn:
            if failures != self._failures:  # one after the other, each would wait for the same
                raise DatabaseUnavailableError(self._failure)
            if self._spool.unreported:
                await self._all()

    async def _all(self) -> None:
        self._spool.unreported = False  # what is told from here on is for the next time
        try:
            await self._by_pages()
        except SpoolUnusableError as error:
            self._spool.unreported = True
            log.error("lo avisado sin alert_db no se lee o no se anota: %s", error)
        except Exception as error:
            self._spool.unreported = True
            # Whatever it is: no batch that waits for it is to blame, or would pass if smaller.
            self._failure = f"no se entera de lo que ya se avisó: {error}"
            self._failures += 1
            raise DatabaseUnavailableError(self._failure) from error
        except BaseException:
            self._spool.unreported = True
            raise

    async def _by_pages(self) -> None:
        """Each in a transaction of its own: a long outage's may be too much for one.

        Raises:
            SpoolUnusableError: nothing can be read, or written: then the rest is handed in first.
        """
        after, fault = 0, None
        while told := await self._spool.told(after):
            marked = await self._session.run(partial(_store, told=told))
            # These were stored before they were handed in: the next outage is not to tell them.
            self._spool.untold.marked(marked)
            try:
                await self._spool.reported(told)
            except SpoolUnusableError as error:
                fault = error
            after = told[-1].number
        if fault is not None:
            raise fault


def _store(connection: Connection, told: list[Told]) -> list[tuple[int, str]]:
    """Returns the alerts, and their channels, that alert_db has by now and knows to be told.

    Also where it was there before, and only the answer was lost.
    """
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
        marked = {(alert_id, channel) for alert_id, channel in cursor}
        cursor.execute(query("told_ahead_used"), arguments)
        return [*marked.union((alert_id, channel) for alert_id, channel in cursor)]
