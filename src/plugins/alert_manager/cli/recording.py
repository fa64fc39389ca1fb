"""Judging and storing on behalf of a person: by the same road as events, without a host."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from ..home import shipped
from ..judge import BatchJudge
from ..metrics import Metrics
from ..recorder import Recorder
from ..settings import Loaded
from ..silencer import Silencer
from ..untold import Untold
from ..utils.db import AlertStore
from ..utils.dedupe import DedupeCache
from ..utils.pg import PgSession

WHO = "alerts.sh"
_CACHE_WAIT = 0.1  # seconds; never used, as there is no cache


@contextlib.asynccontextmanager
async def recording(loaded: Loaded) -> AsyncIterator[Recorder]:
    """Yields what judges events and stores what they come to.

    Messages are queued with the alerts: the channels of a running CoreC find them within 5 s.
    """
    session = PgSession("alerts.sh", loaded.settings.database())
    store = AlertStore(session, WHO, shipped("schema.sql"))

    async def nothing_was_told() -> None:
        """alert_db is there: nobody is told ahead of it here."""

    recorder = Recorder(
        BatchJudge(loaded),
        store,
        DedupeCache(None, _CACHE_WAIT),
        Metrics(),
        Silencer(store, loaded.machines()),
        lambda names: None,
        nothing_was_told,
        Untold(),
    )
    try:
        yield recorder
    finally:
        recorder.close()
        await session.close()
