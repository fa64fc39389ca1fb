"""The command line, `./scripts/alerts.sh`: a file for each group of commands."""
