"""What can go wrong outside, in our own words; adapters translate their drivers' errors once."""

from __future__ import annotations


class NotNowError(Exception):
    """It cannot be done now; nothing is lost, and a later call may succeed."""


class DatabaseUnavailableError(NotNowError):
    """The database cannot be reached, or went away in the middle of a call.

    After a commit that was cut off nobody knows whether it took place: callers ask again.
    """


class SourceUnavailableError(NotNowError):
    """A source of events does not answer."""


class TooSlowError(NotNowError):
    """The database gave up what it was asked within its time; nothing was stored: ask for less."""


class StaleReaderError(NotNowError):
    """Somebody else moved the position: this reader lost its lead, nothing was stored."""


class StaleStateError(NotNowError):
    """Another source's reader changed what a rule remembers; nothing was stored: judge again."""


class StaleThresholdsError(StaleStateError):
    """A threshold was changed meanwhile; nothing was stored: judge again."""


class StaleSilencesError(StaleStateError):
    """A silence was added or is over; nothing was stored: look at them again."""


class DatabaseUnusableError(NotNowError):
    """A table is missing, our role may not use it, it is a standby: a person has to mend that."""


class RefusedError(Exception):
    """The database is there, and refused what it was given; nothing of it was stored."""


class AlreadyStoredError(RefusedError):
    """What was given is stored already."""


class NoLetterError(Exception):
    """A dead letter that was to be judged again is gone: somebody else did it."""


class SpoolUnusableError(NotNowError):
    """The file for what is told ahead of alert_db cannot be written."""
