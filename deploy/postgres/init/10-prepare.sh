#!/bin/sh
# Roles and tables of a container's database, safe to run again. PostgreSQL's image runs it at the
# first start; ./scripts/start.sh --docker at every one, with the schema of the checkout as SCHEMA,
# so that an upgrade gets its tables and a renewed .env its passwords.
# In a subshell: an image may source this file into its own entry point.
(
  set -eu
  in_database() {
    psql -X -q -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" "$@"
  }

  # psql reads the secret itself: on its command line every user of the machine could see it.
  in_database <<'SQL'
\set password `cat /run/secrets/db_password`
ALTER ROLE CURRENT_USER PASSWORD :'password';
SQL

  schema="${SCHEMA:-/corec/schema.sql}"
  if [ -e "$schema" ]; then # a trading plugin's database brings none
    in_database -f "$schema"
  fi
) || exit 1
