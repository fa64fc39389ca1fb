#!/usr/bin/env bash
# Stops all that start.sh started here: ./scripts/stop.sh [--instance ID]
set -euo pipefail

PROJECT="$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")"
# shellcheck source=scripts/lib.sh
. "$PROJECT/scripts/lib.sh"
# shellcheck source=scripts/docker.sh
. "$PROJECT/scripts/docker.sh"

use_home

status=0
if [ -d "$COREC_HOME/run" ] || [ -d "$COREC_HOME/data" ]; then
  [ -x "$VENV_PYTHON" ] || prepare_venv run # somebody removed .venv from under a running CoreC
  (exec_module src.launcher stop "$@") || status=$?
elif ! docker_runs; then
  echo "No hay nada en marcha."
fi

# After the rest, which stops even where docker does not answer.
if docker_runs; then
  check_docker
  if [ "${1:-}" = --instance ]; then
    docker stop "corec_v4-${2:?}-1" >/dev/null || exit 1
    echo "CoreC ($2): detenido en docker."
    exit "$status"
  fi
  compose_down
  rm -f "$COREC_HOME/docker"
  echo "Docker: detenido (los datos siguen en sus volúmenes)."
fi
exit "$status"
