#!/bin/sh
# Roles and tables of a container's database, safe to run again. PostgreSQL's image runs it at the
# first start; ./scripts/start.sh --docker at every one, with the SQL of the checkout in the file that SQL
# names, so that an upgrade gets its tables and a renewed .env its passwords.
# In a subshell: an image may source this file into its own entry point.
(
  set -eu
  in_database() {
    psql -X -q -v ON_ERROR_STOP=1 -U "$POSTGRES_USER" -d "$POSTGRES_DB" "$@" >/dev/null
  }

  # psql takes them from its environment: on its command line every user of the machine could see them.
  for file in /run/secrets/*_password; do
    name="$(basename "$file" | tr '[:lower:]' '[:upper:]')"
    export "$name=$(cat "$file")"
  done
  in_database <<'SQL'
\getenv password DB_PASSWORD
ALTER ROLE CURRENT_USER PASSWORD :'password';
SQL

  for file in ${SQL:-/corec/schema.sql /corec/roles.sql}; do
    if [ -e "$file" ]; then # a trading plugin's database has none
      in_database -f "$file"
    fi
  done
) || exit 1
