#!/usr/bin/env bash
# Opens psql on a database of the project: ./scripts/psql.sh corec_db|alert_db [psql arguments…]
set -euo pipefail

PROJECT="$(dirname -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")")"
# shellcheck source=scripts/lib.sh
. "$PROJECT/scripts/lib.sh"
# shellcheck source=scripts/docker.sh
. "$PROJECT/scripts/docker.sh"

use_home

database="${1:-}"
case "$database" in
  corec_db) variable=COREC_DB_DSN role=corec_user service=postgres ;;
  alert_db) variable=ALERT_DB_DSN role=alert_user service=alert_db ;;
  *) fail "Uso: $0 corec_db|alert_db [argumentos de psql…]; se encontró «$database»." ;;
esac
shift

if [ -n "${!variable:-}" ] || { ! docker_runs && [ -n "$(running_value "${variable}_OWN")" ]; }; then
  # Python takes the password out of the command line, where every user could read it.
  [ -x "$VENV_PYTHON" ] || prepare_venv run
  exec_module src.launcher psql "$database" "$@"
fi

if docker_runs; then
  need_service "$service"
  arguments=() file=-
  while [ "$#" -gt 0 ]; do
    case "$1" in # a file of this machine, which the container does not have
      -f | --file) [ "$#" -gt 1 ] || fail "$1: falta el archivo." && file="$2" && shift ;;
      --file=*) file="${1#--file=}" ;;
      -f?*) file="${1#-f}" ;;
      *) arguments+=("$1") ;;
    esac
    shift
  done
  if [ "$file" != - ]; then
    exec <"$file"
    arguments+=(-f -)
  fi
  exec_docker "$service" -e "PGUSER=$role" -e "PGDATABASE=$database" -- psql ${arguments[@]+"${arguments[@]}"}
fi

psql="$(running_value COREC_PSQL)"
postmaster=""
if [ -r "$COREC_HOME/data/postgres/postmaster.pid" ]; then
  read -r postmaster <"$COREC_HOME/data/postgres/postmaster.pid" || true
fi
if [ -z "$psql" ] || [ -z "$postmaster" ] || ! kill -0 "$postmaster" 2>/dev/null; then
  fail "PostgreSQL no está en marcha en $COREC_HOME. Arranca con ./scripts/start.sh."
fi

# By environment and not by -d, so that every option of psql keeps its meaning.
forget_libpq
PGHOST="$(running_value COREC_PG_SOCKETS)"
export PGHOST PGPORT=5432 PGUSER="$role" PGDATABASE="$database"
exec "$psql" "$@"
