# Sourced by the other scripts: named steps with elapsed times, readable in a CI log as on a terminal.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
  bold=$'\e[1m' plain=$'\e[0m'
else
  bold='' plain=''
  export CARGO_TERM_COLOR=never CARGO_TERM_PROGRESS_WHEN=never NO_COLOR=1
fi
# Nested scripts go on with the caller's clock.
export MARQUEE_BEGAN=${MARQUEE_BEGAN:-$(date +%s)}

elapsed() {
  local s=$(($(date +%s) - MARQUEE_BEGAN))
  printf '%d:%02d' $((s / 60)) $((s % 60))
}
header() { printf '%s== %s · %s%s\n' "$bold" "$(elapsed)" "$*" "$plain"; }
step() { # TEXT COMMAND…
  local text=$1 start=$SECONDS status=0
  shift
  header "$text"
  # In a subshell, and not before `||`: bash would ignore failures in the middle of a function there.
  # A lock that the script holds on 9 is not for the servers that a step starts.
  set +e
  (set -e && "$@") </dev/null 9>&-
  status=$?
  set -e
  if ((status)); then
    header "FAILED after $((SECONDS - start)) s (exit status $status): $text"
    exit "$status"
  fi
  printf '   (%d s)\n' $((SECONDS - start))
}

# `npm install` takes the locked versions, too; `npm ci` refuses a lock file that was written where the
# registry lacks the optional binaries of some foreign platform. --no-save leaves that file as it is.
npm_install() { # FOLDER
  local stamp=$1/node_modules/.marquee-installed
  [[ $stamp -nt $1/package-lock.json && $stamp -nt $1/package.json ]] && return
  npm --prefix "$1" install --no-save --no-audit --no-fund --no-progress --loglevel=error
  touch "$stamp"
}
