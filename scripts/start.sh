#!/usr/bin/env bash
# Starts CoreC with all it needs: ./scripts/start.sh [--foreground | --docker]
set -euo pipefail

PROJECT="$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")"
# shellcheck source=scripts/lib.sh
. "$PROJECT/scripts/lib.sh"
# shellcheck source=scripts/docker.sh
. "$PROJECT/scripts/docker.sh"
# shellcheck source=scripts/env_file.sh
. "$PROJECT/scripts/env_file.sh"
# shellcheck source=scripts/docker_start.sh
. "$PROJECT/scripts/docker_start.sh"

use_home

for argument in "$@"; do
  if [ "$argument" = --docker ]; then
    [ "$#" -eq 1 ] || fail "--docker va solo, sin más opciones."
    start_docker
    exit 0
  fi
done

refuse_beside_docker
prepare_venv run
exec_module src.launcher start "$@"
