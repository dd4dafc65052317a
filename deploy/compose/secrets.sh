#!/usr/bin/env bash
# Gives each container of docker-compose.yml its secrets: files in a volume that nobody else mounts.
#
#   secrets generate   what the environment does not set is made once, from the kernel's generator, and kept
#   secrets check      nothing is made: everything has to be set, and safe for a public address
#
# A secret of the environment (or .env) always wins over one that is kept.
set -euo pipefail
umask 022

# Where the volumes are mounted; a test has them elsewhere.
VOLUMES=${SECRETS_VOLUMES:-/secrets}
KEPT=$VOLUMES/kept

# Whoever mounts the volume NAME, and what it is given.
declare -A GIVEN=(
  [postgres]='POSTGRES_PASSWORD'
  [databases]='POSTGRES_PASSWORD AUTH_DB_PASSWORD STREAM_DB_PASSWORD RECORDING_DB_PASSWORD VOD_DB_PASSWORD PLAYBACK_DB_PASSWORD AUTH_FDW_PASSWORD'
  [minio]='S3_SECRET_KEY'
  [auth]='JWT_SECRET_KEY INTERNAL_API_KEY AUTH_DB_URL'
  [stream]='JWT_SECRET_KEY INTERNAL_API_KEY STREAM_DB_URL AUTH_FDW_PASSWORD'
  [transcoder]='INTERNAL_API_KEY S3_SECRET_KEY'
  [proxy]='JWT_SECRET_KEY'
  [gateway]='JWT_SECRET_KEY'
)
# The demo's accounts; production has none.
declare -A GIVEN_TO_DEMO=(
  [accounts]='AUTH_DB_URL ADMIN_PASSWORD VIEWER_PASSWORD DEMO_PASSWORD'
  [broadcaster]='DEMO_PASSWORD'
)
SECRETS='JWT_SECRET_KEY INTERNAL_API_KEY POSTGRES_PASSWORD AUTH_DB_PASSWORD STREAM_DB_PASSWORD RECORDING_DB_PASSWORD VOD_DB_PASSWORD PLAYBACK_DB_PASSWORD AUTH_FDW_PASSWORD S3_SECRET_KEY'
PASSWORDS='ADMIN_PASSWORD VIEWER_PASSWORD DEMO_PASSWORD'
# What the documents show, and everybody knows (crates/common/src/config/secret.rs has them too).
EXAMPLES=(your_secret_key your-secret-key-change-in-production minioadmin password)
# Production names them; a demo is on this machine.
ADDRESSES='PUBLIC_BASE_URL PUBLIC_SRT_URL PUBLIC_RTMP_URL CORS_ALLOWED_ORIGINS'

declare -A value
made=()
wrong=0
complain() { printf 'secrets: %s\n' "$*" >&2; wrong=1; }

random() { head -c "$1" /dev/urandom | base64 | tr '+/' '-_' | tr -d '=\n'; }

# Whole or not at all, and no newline: not every reader takes one off.
write() { # PATH TEXT
  printf %s "$2" >"$1.part"
  chmod 444 "$1.part"
  mv "$1.part" "$1"
}

kept_or_made() { # NAME BYTES
  if [[ ! -s $KEPT/$1 ]]; then
    write "$KEPT/$1" "$(random "$2")"
    made+=("$KEPT/$1")
  fi
  value[$1]=$(<"$KEPT/$1")
}

judge() { # NAME LENGTH: what the environment says
  local name=$1 text=${!1} example
  if ((${#text} < $2)); then
    complain "$name: ${#text} characters are too short, it needs at least $2 (try: openssl rand -hex 32)"
  elif [[ $text == *[![:graph:]]* ]]; then
    complain "$name: spaces and control characters are not allowed"
  fi
  for example in "${EXAMPLES[@]}"; do
    [[ ${text,,} != "$example" ]] || complain "$name: this is an example from public documents, make your own (try: openssl rand -hex 32)"
  done
}

percent_encoded() {
  local text=$1 out='' at char
  for ((at = 0; at < ${#text}; at++)); do
    char=${text:at:1}
    case $char in [A-Za-z0-9._~-]) out+=$char ;; *) printf -v char '%%%02X' "'$char" && out+=$char ;; esac
  done
  printf %s "$out"
}

take() { # NAME LENGTH BYTES
  if [[ -n ${!1:-} ]]; then
    judge "$1" "$2"
    value[$1]=${!1}
  elif [[ $mode == check ]]; then
    complain "$1 is not set (in .env or the environment; try: openssl rand -hex 32)"
  else
    kept_or_made "$1" "$3"
  fi
}

hand_out() { # CONSUMER NAMES
  local consumer=$1 name
  shift
  for name in "$@"; do write "$VOLUMES/$consumer/$name" "${value[$name]}"; done
}

mode=${1:-generate}
export LC_ALL=C
for name in $SECRETS; do take "$name" 32 32; done
case $mode in
  generate)
    # Short enough to be typed into a page.
    for name in $PASSWORDS; do take "$name" 8 12; done
    ;;
  check)
    for name in $ADDRESSES; do
      if [[ -z ${!name:-} ]]; then
        complain "$name is not set: production has no default address"
      elif [[ $name == CORS_ALLOWED_ORIGINS && ",${!name}," == *',*,'* ]]; then
        complain "$name: name the origins, * is for demos"
      elif [[ ${!name} =~ ^[a-z]+://(localhost|127\.|\[::1\]) ]]; then
        complain "$name: ${!name} is this machine alone, give the address that the public uses"
      fi
    done
    ;;
  *) complain "generate or check, not $mode" ;;
esac
# On the disk before a database is made with them; what is handed out is written again at each start.
((${#made[@]} == 0)) || sync "${made[@]}" "$KEPT"
((wrong == 0)) || { printf 'secrets: nothing was started; see .env.example\n' >&2; exit 1; }

value[AUTH_DB_URL]=postgres://marquee_auth:$(percent_encoded "${value[AUTH_DB_PASSWORD]}")@postgres:5432/auth_db
value[STREAM_DB_URL]=postgres://marquee_stream:$(percent_encoded "${value[STREAM_DB_PASSWORD]}")@postgres:5432/streams_db
for consumer in "${!GIVEN[@]}"; do
  # shellcheck disable=SC2086  # a list of names
  hand_out "$consumer" ${GIVEN[$consumer]}
done
for consumer in "${!GIVEN_TO_DEMO[@]}"; do
  if [[ $mode == check ]]; then
    rm -f "$VOLUMES/$consumer"/*
  else
    # shellcheck disable=SC2086
    hand_out "$consumer" ${GIVEN_TO_DEMO[$consumer]}
  fi
done
printf 'secrets: handed out\n'
