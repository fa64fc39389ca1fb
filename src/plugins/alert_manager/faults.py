"""Logs faults of our own without what they may quote."""

from __future__ import annotations

import logging
import traceback


def log_fault(log: logging.Logger, what: str, error: Exception) -> None:
    """Logs a fault of ours with its place, but without its text, which may quote a secret."""
    place = "".join(traceback.format_tb(error.__traceback__))
    log.error("%s: %s\n%s", what, type(error).__name__, place)
