# shellcheck shell=bash
# ./scripts/start.sh --docker. Sourced after lib.sh, docker.sh and env_file.sh.

WAIT_SECONDS=180

start_docker() {
  local service servers=() instances=() others=() renew=() checksum
  check_docker
  refuse_beside_embedded
  prepare_env
  check_readable
  checksum="$(env_checksum)"
  mkdir -p "$COREC_HOME"
  if ! docker_runs || [ "$(<"$COREC_HOME/docker")" != "$checksum" ]; then
    # Compose does not see that a secret changed: containers keep the old one until they are made anew.
    renew=(--force-recreate)
    : >"$COREC_HOME/docker" # stop.sh knows from now on, also of containers that do not get healthy
  fi
  while IFS= read -r service; do
    case "$service" in
      redis | postgres | alert_db) servers+=("$service") ;;
      corec[0-9]*) instances+=("$service") ;;
      *)
        if is_trading_database "$service"; then
          servers+=("$service")
        else
          others+=("$service") # of the family's own docker-compose.override.yml
        fi
        ;;
    esac
  done < <(compose config --services | sort)
  [ "${#instances[@]}" -gt 0 ] || fail "docker compose no entiende docker-compose.yml o .env; mira arriba."

  echo "Construyo la imagen de CoreC (la primera vez tarda un minuto)…"
  build_image "${instances[@]}"
  up ${renew[@]+"${renew[@]}"} "${servers[@]}"
  for service in "${servers[@]}"; do
    prepare_database "$service"
  done
  compose run --rm --no-deps -T "${instances[0]}" \
    python -m src.plugins.alert_manager.cli check-config </dev/null ||
    fail "Corrígelo y repite ./scripts/start.sh --docker."
  up --no-deps ${renew[@]+"${renew[@]}"} "${instances[@]}" ${others[@]+"${others[@]}"}
  printf '%s\n' "$checksum" >"$COREC_HOME/docker"
  say_next "${instances[@]}"
}

build_image() {
  local log="$COREC_HOME/docker-build.log"
  compose build "$@" >"$log" 2>&1 && return
  tail -n 15 "$log" >&2
  fail "No se puede construir la imagen de CoreC. La primera vez, y si cambian los paquetes, hace falta" \
    "internet. Todo lo que dijo docker: $log"
}

is_trading_database() {
  case "$1" in
    trading_db | predictor_db | monitor_db | exchange_db | macro_db | execution_db) ;;
    capital_db | user_db | settlement_db) ;;
    *) return 1 ;;
  esac
}

# Starts services and waits until they are healthy.
up() {
  local service
  compose up -d --wait --wait-timeout "$WAIT_SECONDS" "$@" && return
  for service in "$@"; do
    case "$service" in
      -*) ;;
      *)
        if [ "$(docker inspect -f '{{.State.Health.Status}}' "corec_v4-$service-1" 2>/dev/null)" != healthy ]; then
          printf '\n%s no está sano. Lo último que dijo:\n' "$service" >&2
          docker logs --tail 15 "corec_v4-$service-1" >&2 || true
        fi
        ;;
    esac
  done
  fail "CoreC no llegó a estar en marcha en docker. Corrige lo que dice arriba y repite" \
    "./scripts/start.sh --docker, o deténlo todo con ./scripts/stop.sh."
}

# Gives a running database the passwords of .env, and the tables and roles of this checkout.
prepare_database() {
  local folder="" files=()
  case "$1" in
    redis) return ;;
    postgres) folder="$PROJECT/configs/core" ;;
    alert_db) folder="$PROJECT/configs/plugins/alert_manager" ;;
  esac
  [ -z "$folder" ] || files=("$folder/schema.sql" "$folder/roles.sql")
  # By the pipe and not by the mounts, which keep the files of the day the container was made.
  cat -- /dev/null ${files[@]+"${files[@]}"} |
    docker exec -i -e SQL=/dev/stdin -e PGOPTIONS='-c client_min_messages=warning' "corec_v4-$1-1" \
      sh /corec/postgres/init/10-prepare.sh ||
    fail "No se pueden preparar las tablas o la clave de $1; mira arriba y repite ./scripts/start.sh --docker."
}

# Two CoreC of one home would share psql.sh, alerts.sh and stop.sh.
refuse_beside_embedded() {
  local file text
  for file in "$COREC_HOME"/run/instances/*.json; do
    [ -r "$file" ] || continue
    text="$(<"$file")"
    if [[ "$text" =~ \"pid\":\ *([0-9]+) ]] && kill -0 "${BASH_REMATCH[1]}" 2>/dev/null; then
      fail "CoreC ya está en marcha aquí, sin docker. Detenlo antes con ./scripts/stop.sh;" \
        "sus datos y los de docker son distintos."
    fi
  done
}

# The other way round: fails where docker runs this home; forgets a docker that no longer runs anything.
refuse_beside_docker() {
  local running
  docker_runs || return 0
  running="$(running_services 2>/dev/null)" ||
    fail "Este CoreC se arrancó con docker, y docker no responde. Arráncalo y usa ./scripts/stop.sh," \
      "o borra $COREC_HOME/docker si ya no lo usas."
  [ -z "$running" ] ||
    fail "CoreC ya está en marcha, con docker. Detenlo antes con ./scripts/stop.sh;" \
      "sus datos y los de aquí son distintos."
  rm -f -- "$COREC_HOME/docker"
}

# In containers CoreC and PostgreSQL are other users, who read these files as others do.
check_readable() {
  local found
  found="$(cd -- "$PROJECT" && find configs deploy \( -type f ! -perm -004 -o -type d ! -perm -005 \) -print)"
  [ -z "$found" ] ||
    fail "Los contenedores no pueden leer ${found%%$'\n'*}. Lo permite: chmod -R o+rX configs deploy" \
      "(las claves van en .env, que sigue siendo solo tuyo)."
}

say_next() {
  cat <<FIN

CoreC está en marcha y sano en docker (proyecto corec_v4): $*
Qué hacer ahora:
  ./scripts/simulate.sh                                    envía cinco eventos de prueba
  ./scripts/alerts.sh list                                 muestra las alertas
  ./scripts/psql.sh alert_db -c "SELECT * FROM alerts;"    lo mismo, en SQL
  ./scripts/stop.sh                                        lo detiene todo; los datos quedan
Registro: docker logs corec_v4-$1-1
Claves, correo y Discord: $PROJECT/.env (después, otra vez ./scripts/start.sh --docker)
FIN
}
