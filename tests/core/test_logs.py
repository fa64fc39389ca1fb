from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from logging.handlers import RotatingFileHandler
from pathlib import Path

import pytest

from src.utils.logs import LineFormatter, setup_logging


@pytest.fixture
def root_logger() -> Iterator[logging.Logger]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    # pytest's own handlers must survive setup_logging, which closes what it replaces.
    for handler in handlers:
        root.removeHandler(handler)
    yield root
    for handler in list(root.handlers):
        root.removeHandler(handler)
        handler.close()
    for handler in handlers:
        root.addHandler(handler)
    root.setLevel(level)
    logging.captureWarnings(False)


def test_one_record_is_one_line() -> None:
    record = logging.LogRecord(
        "x", logging.INFO, "f", 1, "evento %s", ("a\nERROR falso\r\x1b[31m\u2028b",), None
    )
    line = LineFormatter().format(record)
    assert len(line.splitlines()) == 1
    assert r"a\nERROR falso\r\x1b[31m\u2028b" in line
    assert "INFO" in line


def test_a_traceback_keeps_its_lines() -> None:
    try:
        raise RuntimeError("uy")
    except RuntimeError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "fallo", (), sys.exc_info())
    assert LineFormatter().format(record).count("\n") >= 3


def test_console_by_default(root_logger: logging.Logger) -> None:
    setup_logging({})
    (handler,) = root_logger.handlers
    assert type(handler) is logging.StreamHandler
    assert root_logger.level == logging.INFO


def test_file_instead_of_the_console(root_logger: logging.Logger, tmp_path: Path) -> None:
    path = tmp_path / "logs" / "corec1.log"
    setup_logging({"COREC_LOG_FILE": str(path), "COREC_LOG_LEVEL": "debug"})
    (handler,) = root_logger.handlers
    assert isinstance(handler, RotatingFileHandler)
    assert (handler.maxBytes, handler.backupCount) == (10 * 1024 * 1024, 5)
    logging.getLogger("a").debug("hóla")
    assert path.read_text(encoding="utf-8").endswith("DEBUG    a: hóla\n")


def test_unknown_level() -> None:
    with pytest.raises(ValueError, match="COREC_LOG_LEVEL: se encontró 'RUIDO'"):
        setup_logging({"COREC_LOG_LEVEL": "ruido"})
