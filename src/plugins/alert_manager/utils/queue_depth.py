"""How much waits in alert_db to be told."""

from __future__ import annotations

from psycopg2.extensions import connection as Connection  # noqa: N812

from ..observer import Depth
from .pg import PgSession
from .queries import query


class QueueDepth:
    """Counts what waits, in a session that others may use, too."""

    def __init__(self, session: PgSession) -> None:
        self._session = session

    async def count(self) -> list[Depth]:
        """Returns what waits, by channel and severity.

        Raises:
            NotNowError: alert_db does not answer.
        """

        def work(connection: Connection) -> list[Depth]:
            with connection.cursor() as cursor:
                cursor.execute(query("notifications_depth"))
                return [Depth(*row) for row in cursor]

        return await self._session.run(work)
