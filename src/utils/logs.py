"""Logging of the host: one line for each record, on the console or in a rotating file."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from datetime import datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

LOG_FILE_ENV = "COREC_LOG_FILE"
LOG_LEVEL_ENV = "COREC_LOG_LEVEL"
MAX_BYTES = 10 * 1024 * 1024
BACKUPS = 5

_LINE = "%(asctime)s %(levelname)-8s %(name)s: %(message)s"
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\x85\u2028\u2029]")


class LineFormatter(logging.Formatter):
    """One record, one line: an event can neither forge a line nor colour a terminal."""

    def __init__(self) -> None:
        super().__init__(_LINE)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        """Escape control characters of the message; a traceback keeps its lines."""
        record.message = _CONTROL.sub(_escaped, record.message)
        return super().formatMessage(record)

    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:  # noqa: N802
        """Local time with its offset from UTC, to the millisecond."""
        del datefmt
        moment = datetime.fromtimestamp(record.created).astimezone()
        return moment.isoformat(sep=" ", timespec="milliseconds")


def _escaped(match: re.Match[str]) -> str:
    return match.group().encode("unicode_escape").decode("ascii")


def setup_logging(environ: Mapping[str, str]) -> None:
    """Give the root logger its one handler, by COREC_LOG_FILE and COREC_LOG_LEVEL (INFO).

    Raises:
        ValueError: the level is unknown.
        OSError: the log file can't be opened.
    """
    level_name = environ.get(LOG_LEVEL_ENV, "").upper() or "INFO"
    level = logging.getLevelNamesMapping().get(level_name)
    if level is None:
        raise ValueError(
            f"{LOG_LEVEL_ENV}: se encontró {level_name!r}; "
            "se permite DEBUG, INFO, WARNING, ERROR o CRITICAL"
        )
    handler = _handler(environ.get(LOG_FILE_ENV, ""))
    handler.setFormatter(LineFormatter())
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
        old.close()
    root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(True)


def _handler(log_file: str) -> logging.Handler:
    if not log_file:
        return logging.StreamHandler()
    path = Path(log_file).expanduser()
    path.parent.mkdir(parents=True, exist_ok=True)
    return RotatingFileHandler(path, maxBytes=MAX_BYTES, backupCount=BACKUPS, encoding="utf-8")
