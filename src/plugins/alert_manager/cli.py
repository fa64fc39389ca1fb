"""The command line, `./scripts/alerts.sh`: English verbs, Spanish output, `--json` for scripts.

Exit codes: 0 done, 1 not found or not valid, 2 wrong usage, 3 alert_db does not answer.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from .cli_backtest import backtest
from .cli_data import CONFIG, NOT_FOUND, find_database, load_settings, rows
from .cli_explain import explain
from .cli_life import ack, resolve
from .cli_notifications import notifications, test_notify
from .cli_output import alert_table, console, print_alert, print_json
from .cli_silence import silence
from .cli_suggest import suggest_thresholds
from .domain.model import Severity
from .settings import CONFIG_ENV


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Alertas de CoreC: qué pasó, a quién se avisó, y si la configuración es válida."""


@main.command("list")
@click.option("--severity", help="Solo una severidad: critica, alta, media o baja.")
@click.option("--channel", help="Solo un canal de CoreC, por ejemplo trading_results.")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1, 10_000))
@click.option("--json", "as_json", is_flag=True, help="Una lista JSON.")
def list_alerts(severity: str | None, channel: str | None, limit: int, as_json: bool) -> None:
    """Las últimas alertas, la más nueva primero."""
    try:
        wanted = None if severity is None else Severity.parse(severity).key
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--severity") from None
    database = find_database()
    arguments = {"severity": wanted, "channel": channel, "limit": limit}
    found = rows(database, "alerts_list", arguments)
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("No hay alertas.")
        return
    console().print(alert_table(found, database.formats))


@main.command("show")
@click.argument("alert_id", type=int, metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Un objeto JSON.")
def show_alert(alert_id: int, as_json: bool) -> None:
    """Una alerta entera: el evento, la regla y a quién se avisó."""
    database = find_database()
    found = rows(database, "alert_show", {"id": alert_id})
    if not found:
        click.echo(f"No existe la alerta {alert_id}.", err=True)
        sys.exit(NOT_FOUND)
    alert = {
        **found[0],
        "history": rows(database, "alert_history", {"id": alert_id}),
        "notifications": rows(database, "alert_notifications", {"id": alert_id}),
    }
    if as_json:
        print_json(alert)
        return
    print_alert(alert, database.formats)


@main.command("check-config")
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


main.add_command(ack)
main.add_command(resolve)
main.add_command(silence)
main.add_command(notifications)
main.add_command(test_notify)
main.add_command(explain)
main.add_command(backtest)
main.add_command(suggest_thresholds)


if __name__ == "__main__":
    main(prog_name="alerts.sh")
