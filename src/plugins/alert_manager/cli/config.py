"""`alerts.sh check-config`: is the file valid, without starting anything."""

from __future__ import annotations

import os
from pathlib import Path

import click

from ..settings import CONFIG_ENV
from .data import CONFIG, load_settings


@click.command("check-config")
@click.argument("file", type=click.Path(path_type=Path), required=False)
def check_config(file: Path | None) -> None:
    """Comprueba un alert_manager.yaml (o el que se usaría al arrancar) sin arrancar nada."""
    file = file or Path(os.environ.get(CONFIG_ENV) or CONFIG)
    loaded = load_settings(file)
    settings = loaded.settings
    click.echo(
        f"{file}: válido; {len(settings.alert_config.rules)} reglas sobre "
        f"{len(settings.channels)} canales; avisa por: {', '.join(loaded.channels)}"
    )
