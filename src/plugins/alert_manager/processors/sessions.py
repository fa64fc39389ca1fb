"""The connections that a running processor has to its databases."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..config_file import ConfigError, Fault
from ..domain.errors import DatabaseUnavailableError
from ..settings import Settings
from ..utils.pg import PgSession

LEAD_IDLE_LIMIT = 30.0  # seconds; a leader says something every 5 s


class Sessions(NamedTuple):
    """A connection for each part that needs one: none waits for another's."""

    reading: PgSession
    looking_ahead: PgSession
    storing: PgSession
    telling: PgSession
    following: PgSession
    reporting: PgSession
    asking_corec: PgSession
    asking_alert: PgSession
    watching: PgSession
    sweeping: PgSession

    @classmethod
    def of(cls, corec_db: Mapping[str, Any], settings: Settings) -> Sessions:
        """Makes them; connects to nothing yet."""
        alert_db = settings.database()
        # What is asked at every look is planned once: without knowing the id and the number of rows
        # PostgreSQL takes them for many, and would plan anew each time.
        options = f"-c plan_cache_mode=force_generic_plan {corec_db.get('options', '')}".strip()
        reading = {**corec_db, "options": options}
        # A process that is frozen while it leads must not keep everybody else from it.
        idle_limit = max(LEAD_IDLE_LIMIT, 4 * settings.config.reader.tick)
        return cls(
            reading=PgSession("lectura", reading, autocommit=True),
            looking_ahead=PgSession("adelanto", reading, autocommit=True),
            storing=PgSession("almacen", alert_db, autocommit=True, idle_limit=idle_limit),
            telling=PgSession("avisos", alert_db, autocommit=True),
            following=PgSession("seguimiento", alert_db),
            reporting=PgSession("reportes", corec_db, autocommit=True),
            # Health asks for itself: a part that works hard is not a part that is down.
            asking_corec=PgSession("salud", corec_db),
            asking_alert=PgSession("salud", alert_db),
            watching=PgSession("vigilancia", alert_db),
            sweeping=PgSession("limpieza", alert_db),
        )


async def check_database(settings: Settings) -> None:
    """Asks whether alert_db answers where these settings say that it is.

    Raises:
        ConfigError: it does not.
    """
    session = PgSession("prueba", settings.database())
    try:
        await session.probe()
    except DatabaseUnavailableError as error:
        raise ConfigError([Fault("db_config", f"alert_db no está ahí: {error}")]) from None
    finally:
        await session.close()
