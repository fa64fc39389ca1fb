#!/usr/bin/env bash
# Starts CoreC with all it needs: ./scripts/start.sh [--foreground | --docker]
set -euo pipefail

PROJECT="$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")"
# shellcheck source=scripts/lib.sh
. "$PROJECT/scripts/lib.sh"

use_home

for argument in "$@"; do
  if [ "$argument" = --docker ]; then
    [ "$#" -eq 1 ] || fail "--docker va solo, sin más opciones."
    check_docker
    mkdir -p "$COREC_HOME"
    touch "$COREC_HOME/docker" # so that stop.sh knows, also of containers that did not get healthy
    compose up -d --wait
    echo "CoreC está en marcha en docker (proyecto corec_v4). ./scripts/stop.sh lo detiene."
    exit 0
  fi
done

prepare_venv run
exec_module src.launcher start "$@"
