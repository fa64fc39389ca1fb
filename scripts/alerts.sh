#!/usr/bin/env bash
# The command line of the alerts, on what runs in this home: ./scripts/alerts.sh list
set -euo pipefail

PROJECT="$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")"
# shellcheck source=scripts/lib.sh
. "$PROJECT/scripts/lib.sh"
# shellcheck source=scripts/docker.sh
. "$PROJECT/scripts/docker.sh"

use_home

if [ -z "${ALERT_DB_DSN:-}" ] && docker_runs; then
  alerts_in_docker "$@"
fi
[ -x "$VENV_PYTHON" ] || prepare_venv run
if [ -z "${ALERT_DB_DSN:-}" ] && [ -z "$(running_value ALERT_DB_DSN_OWN)" ]; then
  forget_libpq
fi
for variable in COREC_DB_DSN ALERT_COREC_DB_DSN ALERT_DB_DSN REDIS_URL INSTANCE_ID ALERT_MANAGER_CONFIG; do
  if [ -z "${!variable:-}" ]; then
    value="$(running_value "$variable")"
    [ -z "$value" ] || export "$variable=$value"
  fi
done
exec_module src.plugins.alert_manager.cli "$@"
