#!/usr/bin/env bash
# Stops all that start.sh started here: ./scripts/stop.sh [--instance ID]
set -euo pipefail

PROJECT="$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")"
# shellcheck source=scripts/lib.sh
. "$PROJECT/scripts/lib.sh"

use_home

status=0
if [ -d "$COREC_HOME/run" ] || [ -d "$COREC_HOME/data" ]; then
  [ -x "$VENV_PYTHON" ] || prepare_venv run # somebody removed .venv from under a running CoreC
  (exec_module src.launcher stop "$@") || status=$?
elif [ ! -e "$COREC_HOME/docker" ]; then
  echo "No hay nada en marcha."
fi

# After the rest, which stops even where docker does not answer.
if [ -e "$COREC_HOME/docker" ]; then
  check_docker
  compose down # the volumes with the data stay
  rm -f "$COREC_HOME/docker"
  echo "Docker: detenido (los datos siguen en sus volúmenes)."
fi
exit "$status"
