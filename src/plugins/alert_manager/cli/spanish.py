"""What click says by itself (usage, missing options), in Spanish: from the catalogue beside it."""

from __future__ import annotations

import gettext
import os
from pathlib import Path

_DOMAIN = "messages"  # click asks for no domain of its own


def speak_spanish() -> None:
    """Makes click speak Spanish, whatever this machine's language is."""
    gettext.bindtextdomain(_DOMAIN, str(Path(__file__).with_name("locale")))
    os.environ["LANGUAGE"] = "es"
