"""What a fault of PostgreSQL comes to, by its code."""

from __future__ import annotations

import psycopg2

from ..domain.errors import (
    AlreadyStoredError,
    DatabaseUnavailableError,
    DatabaseUnusableError,
    RefusedError,
    TooSlowError,
)

# PostgreSQL's appendix A. What a server in trouble says, and a standby: it passes, or a failover
# ends it, so that a later call is worth a try on a connection of its own.
_PASSING = ("08", "53", "57P", "58", "25006", "40", "55P03")
_NO_SUCH = ("42P01", "42703", "3F000", "42501")
_MAY_NOT = "42501"
_QUERY_CANCELED = "57014"
# A function of PostgreSQL's source, which finds that a prepared statement has other columns now.
_OUTDATED = "RevalidateCachedQuery"
EVENT_KEY = "alerts_event_time_rule"  # the index that keeps one alert per event and rule


def is_lost(error: psycopg2.Error) -> bool:
    """Says whether the connection is of no more use; without a code the server never spoke.

    After a crash the fault may come as the base class, which says nothing of itself.
    """
    code = error.pgcode
    if code is None:
        lost = (psycopg2.OperationalError, psycopg2.InterfaceError)
        return isinstance(error, lost) or type(error) is psycopg2.DatabaseError
    if error.diag.source_function == _OUTDATED:  # the table of a prepared statement was altered
        return True
    return code.startswith(("08", "57P", "25006"))


def translated(name: str, error: psycopg2.Error) -> Exception:
    """Returns what a caller gets to know: a fault of ours by its kind, or psycopg2's own."""
    code, text = error.pgcode, f"{name}: {first_line(error)}"
    if code == _QUERY_CANCELED:
        return TooSlowError(text)
    if is_lost(error) or (code is not None and code.startswith(_PASSING)):
        return DatabaseUnavailableError(text)
    if isinstance(error, psycopg2.errors.UniqueViolation):
        if error.diag.constraint_name == EVENT_KEY:
            return AlreadyStoredError(text)
        # No value of ours is refused: a sequence lies behind its rows, as after a partial restore.
        return DatabaseUnusableError(text)
    if isinstance(error, psycopg2.DataError | psycopg2.IntegrityError):
        return RefusedError(text)
    if code == _MAY_NOT:
        text += "; los permisos de este rol los da roles.sql, tras schema.sql (docs/security.md)"
    return DatabaseUnusableError(text) if code in _NO_SUCH else error


def first_line(error: BaseException) -> str:
    """Returns what a fault says of itself, on one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
