# shellcheck shell=bash
# What the scripts do with Docker. Sourced after lib.sh; the home's file `docker` says that Docker runs.

COMPOSE_MINOR=24 # of 2: configs with content, optional depends_on

# Fails with a sentence unless docker compose can work here.
check_docker() {
  local version
  command -v docker >/dev/null ||
    fail "No se encuentra docker. Instálalo (https://docs.docker.com/engine/install/)" \
      "o arranca sin --docker: no hace falta nada más que Python."
  version="$(docker compose version --short 2>/dev/null)" ||
    fail "A docker le falta compose v2 («docker compose»)." \
      "Instala el paquete docker-compose-plugin o arranca sin --docker."
  if [[ "$version" =~ ^v?([0-9]+)\.([0-9]+) ]] &&
    ((BASH_REMATCH[1] < 2 || (BASH_REMATCH[1] == 2 && BASH_REMATCH[2] < COMPOSE_MINOR))); then
    fail "docker compose es $version y hace falta 2.$COMPOSE_MINOR o más nuevo." \
      "Actualiza el paquete docker-compose-plugin o arranca sin --docker."
  fi
  docker info >/dev/null 2>&1 ||
    fail "El motor de docker no responde. Arráncalo (sudo systemctl start docker)" \
      "y comprueba que tu usuario puede usarlo, o arranca sin --docker."
}

# The files are those of .env's COMPOSE_FILE, or docker-compose.yml and docker-compose.override.yml; what
# the shell has of another project does not count.
compose() {
  (
    cd -- "$PROJECT" || exit
    unset COMPOSE_FILE COMPOSE_PROJECT_NAME
    exec docker compose --project-name corec_v4 "$@"
  )
}

# Ends every container of the project, also without its files or an .env; the volumes with the data stay.
compose_down() {
  (
    cd / || exit
    unset COMPOSE_FILE COMPOSE_PROJECT_NAME
    exec docker compose --project-name corec_v4 down
  )
}

docker_runs() {
  [ -e "$COREC_HOME/docker" ]
}

# Prints the services of the project that run, one a line.
running_services() {
  docker ps --filter label=com.docker.compose.project=corec_v4 \
    --filter label=com.docker.compose.oneoff=False \
    --format '{{.Label "com.docker.compose.service"}}'
}

# Prints the instance whose container the command line asks: INSTANCE_ID, or the first that runs.
running_instance() {
  local service found=""
  while IFS= read -r service; do
    case "$service" in
      corec[0-9]*)
        if [ "$service" = "${INSTANCE_ID:-$service}" ] && { [ -z "$found" ] || [[ "$service" < "$found" ]]; }; then
          found="$service"
        fi
        ;;
    esac
  done < <(running_services)
  printf '%s\n' "$found"
}

# Becomes a program in a service's container: exec_docker SERVICE [docker exec's options…] -- PROGRAM ARGS…
exec_docker() {
  local service="$1" options=(-i)
  shift
  while [ "$1" != -- ]; do
    options+=("$1")
    shift
  done
  shift
  if [ -t 0 ] && [ -t 1 ]; then
    options+=(-t)
  fi
  exec docker exec "${options[@]}" "corec_v4-$service-1" "$@"
}

# Becomes the command line in the container of an instance. Where none runs, in one of its own; so does
# what takes memory and time, which an instance must not share.
alerts_in_docker() {
  local instance="" arguments=() command=(python -m src.plugins.alert_manager.cli)
  # A file of this machine, which the container does not have, goes through the pipe.
  while [ "$#" -gt 0 ]; do
    if [[ "$1" == --plot || "$1" == --plot=* ]]; then
      fail "--plot no está con docker: la imagen no trae matplotlib, ni puede escribir aquí."
    elif [[ "$1" == --config && "$#" -gt 1 ]]; then
      _read_from "$2"
      arguments+=(--config /dev/stdin)
      shift
    elif [[ "$1" == --config=* ]]; then
      _read_from "${1#--config=}"
      arguments+=(--config /dev/stdin)
    elif [[ "${arguments[*]-}" == check-config && "$1" != -* ]]; then
      _read_from "$1"
      arguments+=(/dev/stdin)
    else
      arguments+=("$1")
    fi
    shift
  done
  command+=(${arguments[@]+"${arguments[@]}"})
  case "${arguments[0]-}" in
    backtest | suggest-thresholds) ;;
    *) instance="$(running_instance)" ;;
  esac
  if [ -n "$instance" ]; then
    exec_docker "$instance" -- /app/deploy/docker/entrypoint.sh "${command[@]}"
  fi
  need_service alert_db
  compose run --rm --no-deps -T "${INSTANCE_ID:-corec1}" "${command[@]}"
  exit
}

_read_from() {
  [ -r "$1" ] || fail "No se puede leer $1."
  exec <"$1"
}

# Fails unless a service runs, in the words of this project and not of docker.
need_service() {
  running_services | grep -qx -- "$1" ||
    fail "$1 no está en marcha en docker. Arranca con ./scripts/start.sh --docker" \
      "y mira por qué paró: docker logs corec_v4-$1-1"
}
