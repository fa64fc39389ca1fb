"""`python -m …alert_manager.cli`: what `./scripts/alerts.sh` runs."""

from .main import main

main(prog_name="alerts.sh")
