#!/usr/bin/env bash
# Runs every test with private servers, apart from a CoreC that runs: ./scripts/test.sh [pytest args]
set -euo pipefail

PROJECT="$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")"
# shellcheck source=scripts/lib.sh
. "$PROJECT/scripts/lib.sh"

prepare_venv test

# Nothing of the user's own CoreC may reach a test, and no test may reach it.
for variable in $(compgen -e); do
  case "$variable" in
    COREC_TEST_*) ;;
    COREC_* | ALERT_* | REDIS_URL | INSTANCE_ID | PG*) unset "$variable" ;;
  esac
done
cd -- "$PROJECT"
# Most tests wait for servers: two at a time take half as long. Of one file, one after the other.
[[ $# -gt 0 ]] || set -- --numprocesses=2 --dist=loadfile
exec "$VENV_PYTHON" -m pytest "$@"
