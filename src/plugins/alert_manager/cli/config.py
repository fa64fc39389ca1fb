"""`alerts.sh check-config`: is the file valid, without starting anything."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from ..config_file import ConfigError, read_yaml
from ..settings import CONFIG_ENV, check
from .data import CONFIG, NOT_FOUND
from .output import json_option, print_json


@click.command("check-config")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@json_option()
def check_config(file: Path | None, as_json: bool) -> None:
    """Comprueba un alert_manager.yaml (o el que se usaría al arrancar) sin arrancar nada."""
    file = file or Path(os.environ.get(CONFIG_ENV) or CONFIG)
    try:
        loaded = check(read_yaml(file))
    except ConfigError as error:
        if as_json:
            print_json({"file": str(file), "valid": False, "faults": [*map(str, error.faults)]})
        else:
            click.echo(str(error), err=True)
        sys.exit(NOT_FOUND)
    settings = loaded.settings
    if as_json:
        print_json(
            {
                "file": str(file),
                "valid": True,
                "faults": [],
                "rules": [rule.name for rule in settings.alert_config.rules],
                "channels": [*settings.channels],
                "tells": [*loaded.channels],
            }
        )
        return
    click.echo(
        f"{file}: válido; {len(settings.alert_config.rules)} reglas sobre "
        f"{len(settings.channels)} canales; avisa por: {', '.join(loaded.channels)}"
    )
