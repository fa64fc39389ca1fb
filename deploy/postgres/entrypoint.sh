#!/bin/sh
# Starts PostgreSQL with the password of a secret's file, which `docker inspect` does not show.
# Instead of the image's POSTGRES_PASSWORD_FILE, which not every PostgreSQL image knows.
set -eu

POSTGRES_PASSWORD="$(cat /run/secrets/db_password)"
if [ -z "$POSTGRES_PASSWORD" ]; then
  echo "La clave de $POSTGRES_DB está vacía en .env; ./scripts/start.sh --docker pone una." >&2
  exit 1
fi
export POSTGRES_PASSWORD
exec docker-entrypoint.sh "$@"
