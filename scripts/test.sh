#!/usr/bin/env bash
# Runs every test with private servers, apart from a CoreC that runs: ./scripts/test.sh [pytest args]
# ./scripts/test.sh --spec […]: those of the host and the plugin but the long ones, with the libraries'
# versions of the specification (constraints-spec.txt) in an environment of their own, .venv-spec.
# Those of docker compose need its engine, and run only when asked for: ./scripts/test.sh -m docker
set -euo pipefail

PROJECT="$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")"
# shellcheck source=scripts/lib.sh
. "$PROJECT/scripts/lib.sh"

# Most tests wait for servers: three at a time, which two cores bear. Of one file, one after the other, in
# the order that tests/conftest.py gives.
at_once=(--numprocesses=3 --dist=loadfile --no-loadscope-reorder)
# Tests start hundreds of processes: each would compile the project anew.
unset PYTHONDONTWRITEBYTECODE
versions=test
if [[ "${1:-}" == --spec ]]; then
  shift
  versions=spec
  VENV_PYTHON="$PROJECT/.venv-spec/bin/python"
  [[ $# -gt 0 ]] || set -- tests/core tests/plugins -m 'not long and not docker' "${at_once[@]}"
fi
prepare_venv "$versions"

# Nothing of the user's own CoreC may reach a test, and no test may reach it.
for variable in $(compgen -e); do
  case "$variable" in
    COREC_TEST_*) ;;
    COREC_* | ALERT_* | REDIS_URL | INSTANCE_ID | PG*) unset "$variable" ;;
  esac
done
cd -- "$PROJECT"
[[ $# -gt 0 ]] || set -- "${at_once[@]}"
exec "$VENV_PYTHON" -m pytest "$@"
