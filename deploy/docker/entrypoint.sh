#!/bin/sh
# Runs a command with the container's secrets: where NAME_FILE=/run/secrets/…, NAME gets the file's content.
# So main.py and the command line find them in their environment, and `docker inspect` shows only names.
set -eu

for name in $(env | sed -n 's|^\([A-Z][A-Z0-9_]*\)_FILE=/run/secrets/.*|\1|p'); do
  file="$(printenv "${name}_FILE")"
  value="$(cat "$file")"
  export "$name=$value"
done
exec "$@"
