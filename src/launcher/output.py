"""What the launcher tells the person at the keyboard."""

from __future__ import annotations

import sys
from typing import TextIO


def say(text: str) -> None:
    """One line on standard output, at once; a closed output is no reason to stop."""
    _write(sys.stdout, text)


def complain(text: str) -> None:
    """One line on standard error."""
    _write(sys.stderr, text)


def _write(stream: TextIO, text: str) -> None:
    try:
        print(text, file=stream, flush=True)
    except (OSError, ValueError):
        return
