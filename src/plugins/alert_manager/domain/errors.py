"""What can go wrong outside, in our own words; adapters translate their drivers' errors once."""

from __future__ import annotations


class DatabaseUnavailableError(Exception):
    """The database cannot be reached, or went away in the middle of a call.

    After a commit that was cut off nobody knows whether it took place: callers ask again.
    """


class RefusedError(Exception):
    """The database is there, and refused what it was given; nothing of it was stored."""


class StaleReaderError(Exception):
    """Somebody else moved the position: this reader lost its lead, nothing was stored."""


class SchemaMissingError(Exception):
    """alert_db has no tables, and our role may not make them; says what to run."""
