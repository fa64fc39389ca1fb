"""What a start came to, for the program that started the host: a small JSON file."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

_LOG = logging.getLogger(__name__)

STATE_FILE_ENV = "COREC_STATE_FILE"


def write_state(
    environ: Mapping[str, str],
    *,
    instance_id: str,
    plugins: Sequence[str],
    fallos: Mapping[str, str],
) -> None:
    """Write the file that COREC_STATE_FILE names, whole or not at all; nothing when it is not set.

    Its keys: `pid`, `instance_id`, `plugins` (names of those that run) and `fallos` (why the others
    do not, by name). A file of an earlier run is told by its pid. A fault is logged.
    """
    if not (named := environ.get(STATE_FILE_ENV)):
        return
    state = {
        "pid": os.getpid(),
        "instance_id": instance_id,
        "plugins": list(plugins),
        "fallos": dict(fallos),
    }
    path = Path(named)
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        part.write_text(json.dumps(state, ensure_ascii=False) + "\n", encoding="utf-8")
        part.replace(path)
    except OSError as exc:
        _LOG.warning("%s: no se puede escribir %s (%s)", STATE_FILE_ENV, path, exc.strerror)
