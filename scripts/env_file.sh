# shellcheck shell=bash
# The .env of docker compose: made from .env.example, completed after an upgrade, kept private.

# Makes or completes .env; passwords of databases and of Redis that are empty become random ones.
prepare_env() {
  local example="$PROJECT/.env.example" file="$PROJECT/.env" text=""
  [ -r "$example" ] || fail "Falta $example, con el que se hace .env. Recupéralo con git."
  if [ -e "$file" ]; then
    [ -r "$file" ] || fail "No se puede leer $file. Comprueba de quién es."
    text="$(_completed "$file" "$example")" || exit 1
    chmod go-rwx -- "$file" 2>/dev/null || true # somebody else's may be as open as they want it
    [ "$text" != "$(<"$file")" ] || return 0
  else
    text="$(_completed "$example" "$example")" || exit 1
    echo "Hago .env, con claves aleatorias para las bases de datos; el correo y Discord se encienden ahí."
  fi
  (
    umask 077
    printf '%s\n' "$text" >"$file.$$"
    mv -f -- "$file.$$" "$file"
  )
}

# Prints a checksum of what compose reads: .env, and what the shell has before it.
env_checksum() {
  local name
  {
    cat -- "$PROJECT/.env"
    while IFS= read -r name; do
      printf '%s=%s\n' "$name" "${!name-}"
    done < <(_names "$PROJECT/.env.example")
  } | cksum
}

# Prints the names that a file gives a value to, also an empty one.
_names() {
  local line
  while IFS= read -r line || [ -n "$line" ]; do
    if _is_assignment "$line"; then
      printf '%s\n' "${BASH_REMATCH[2]}"
    fi
  done <"$1"
}

_is_assignment() {
  [[ "$1" =~ ^[[:space:]]*(export[[:space:]]+)?([A-Za-z_][A-Za-z0-9_]*)[[:space:]]*=(.*)$ ]]
}

# Prints a file with every empty password filled, and what only the example has behind it.
_completed() {
  local file="$1" example="$2" line names
  names="$(_names "$file")"
  while IFS= read -r line || [ -n "$line" ]; do
    _filled "${line%$'\r'}"
  done <"$file"
  while IFS= read -r line; do
    if _is_assignment "$line" && ! grep -qx -- "${BASH_REMATCH[2]}" <<<"$names"; then
      _filled "$line"
    fi
  done <"$example"
}

# Prints a line of .env, with a random password in place of none.
_filled() {
  local line="$1" name value
  if _is_assignment "$line"; then
    name="${BASH_REMATCH[2]}"
    value="$(_plain "${BASH_REMATCH[3]}")"
    case "$name" in
      *_DB_PASSWORD | REDIS_PASSWORD | COREC_HOST_PASSWORD | ALERT_READER_PASSWORD | ALERT_APP_PASSWORD)
        if [ -z "$value" ]; then
          line="$name=$(_random)"
        elif [[ ! "$value" =~ ^[A-Za-z0-9._~-]+$ ]]; then
          # It becomes part of an address.
          fail "$name en .env: solo puede llevar letras sin acento, cifras y . _ ~ -;" \
            "déjalo vacío y start.sh --docker pone una clave aleatoria."
        fi
        ;;
    esac
  fi
  printf '%s\n' "$line"
}

# Prints a value as compose understands it: without a comment, blanks and quotes around it.
_plain() {
  local value="$1"
  value="${value%%[[:space:]]#*}"
  value="${value#"${value%%[![:space:]]*}"}"
  value="${value%"${value##*[![:space:]]}"}"
  case "$value" in
    \'*\' | \"*\") value="${value:1:${#value}-2}" ;;
  esac
  printf '%s' "$value"
}

_random() {
  od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}
