# shellcheck shell=bash
# What the scripts share. Sourced with PROJECT set to the project's folder.

PROJECT="${PROJECT:?}"
VENV_PYTHON="$PROJECT/.venv/bin/python"
MINIMUM_MINOR=11

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

# The home as an absolute path, the same that src/launcher/home.py sees.
use_home() {
  COREC_HOME="${COREC_HOME:-$PROJECT/.corec}"
  # A tilde that came quoted, from an .env file for instance.
  # shellcheck disable=SC2088
  case "$COREC_HOME" in
    /*) ;;
    '~' | '~/'*) COREC_HOME="$HOME${COREC_HOME#\~}" ;;
    *) COREC_HOME="$PWD/$COREC_HOME" ;;
  esac
  export COREC_HOME
}

# Prints the first Python that is new enough: $PYTHON alone where it is set. The one of .venv comes
# first, because asking it is quick; prepare_venv.py mends .venv from its base.
find_python() {
  local candidate version newest_old=""
  local candidates=("$VENV_PYTHON" python3.14 python3.13 python3.12 python3.11 python3)
  if [ -n "${PYTHON:-}" ]; then
    candidates=("$PYTHON")
  fi
  for candidate in "${candidates[@]}"; do
    candidate="$(command -v -- "$candidate")" || continue
    version="$("$candidate" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" ||
      continue
    if [[ "$version" =~ ^3\.([0-9]+)$ ]] && [ "${BASH_REMATCH[1]}" -ge "$MINIMUM_MINOR" ]; then
      printf '%s\n' "$candidate"
      return 0
    fi
    newest_old="${newest_old:-Python $version ($candidate)}"
  done
  if [ -n "$newest_old" ]; then
    fail "Hace falta Python 3.$MINIMUM_MINOR o más nuevo y se encontró $newest_old." \
      "Instala uno más nuevo (por ejemplo: sudo apt install python3.12 python3.12-venv)" \
      "o indícalo con PYTHON=/ruta/a/python3.12."
  fi
  if [ -n "${PYTHON:-}" ]; then
    fail "PYTHON=$PYTHON no se puede ejecutar. Indica un Python 3.$MINIMUM_MINOR o más nuevo."
  fi
  fail "No se encuentra Python. Instala Python 3.$MINIMUM_MINOR o más nuevo" \
    "(por ejemplo: sudo apt install python3 python3-venv) o indícalo con PYTHON=/ruta/a/python3."
}

# Makes .venv and installs, only when something changed: prepare_venv run|test|spec
prepare_venv() {
  local python
  python="$(find_python)" || exit 1
  "$python" -I "$PROJECT/scripts/prepare_venv.py" "$1"
}

# Becomes a module of the project, in the working directory of the caller: exec_module NAME ARGS…
exec_module() {
  local module="$1"
  shift
  # -P: a file of the working directory must not pass for a module.
  PYTHONPATH="$PROJECT${PYTHONPATH:+:$PYTHONPATH}" exec "$VENV_PYTHON" -P -m "$module" "$@"
}

# Prints one value that the last start wrote down; nothing when there is none.
running_value() {
  local name="$1" line
  [ -r "$COREC_HOME/run/environment" ] || return 0
  while IFS= read -r line; do
    if [ "${line%%=*}" = "$name" ]; then
      printf '%s\n' "${line#*=}"
      return 0
    fi
  done <"$COREC_HOME/run/environment"
}

# Forgets libpq's variables, which are meant for other servers than the embedded one.
forget_libpq() {
  local variable
  for variable in $(compgen -e PG); do
    case "$variable" in
      PG_*) ;; # PG_COLOR: psql's looks
      *) unset "$variable" ;;
    esac
  done
}
