"""The command line, `./scripts/alerts.sh`: English verbs, Spanish output, `--json` for scripts.

Exit codes: 0 done, 1 not found or not valid, 2 wrong usage, 3 alert_db does not answer.
"""

from __future__ import annotations

import click

from .alerts import list_alerts, show_alert
from .backtest import backtest
from .config import check_config
from .dead_letters import dead_letters
from .doctor.command import doctor
from .explain import explain
from .life import ack, resolve
from .notifications import notifications, test_notify
from .silence import silence
from .spanish import speak_spanish
from .stats import stats
from .status import status
from .suggest import suggest_thresholds
from .tail import tail
from .thresholds import thresholds

speak_spanish()


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Alertas de CoreC: qué pasó, a quién se avisó, y si la configuración es válida."""


for command in (
    *(list_alerts, show_alert, tail, stats, status, doctor),
    *(ack, resolve, silence),
    *(notifications, test_notify, dead_letters),
    *(thresholds, check_config, explain, backtest, suggest_thresholds),
):
    main.add_command(command)
