#!/usr/bin/env bash
# A broadcaster for demos: the account demo asks for a stream as anybody would.
#
#   broadcaster push   ffmpeg pushes a test picture with a clock and a tone to it by SRT. Ends when ffmpeg does; the
#                      container's restart policy starts it again.
#   broadcaster obs    shows what to enter in OBS to push to the same stream
set -euo pipefail
shopt -s inherit_errexit

API=${API:-http://api-gateway:8080/api}
SRT=${SRT:-srt://transcoder:8890}
FONT=/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf
HEIGHT=${BROADCAST_HEIGHT:-720}
PASSPHRASE=${SRT_PASSPHRASE:-}
verb=${1:-push}

ask() { curl --silent --show-error --fail-with-body --max-time 15 --header 'content-type: application/json' "$@"; }
# Passwords and tokens on stdin: command lines are for everybody to read.
signed() { # CURL ARGUMENTS…
  ask --config <(printf 'header = "authorization: Bearer %s"\n' "$token") "$@"
}

# Not again at once, which is what the container's restart policy would do: it would lock the account.
not_signed_in() {
  echo 'broadcaster: demo cannot sign in. If its password was changed, set DEMO_PASSWORD to it, or do without the' \
    'broadcaster: docker compose --profile broadcast rm --stop --force broadcaster' >&2
  [[ $verb == obs ]] || sleep 60
  exit 1
}
# The account's stream as JSON: its own with a usable key, else a new one.
own_stream() {
  local token stream
  token=$(jq --null-input --rawfile password /run/secrets/DEMO_PASSWORD '{username: "demo", password: $password}' |
    ask --data @- "$API/auth/login" | jq --raw-output .access_token) || not_signed_in
  stream=$(signed "$API/streams" | jq '[.items[] | select(.status != "expired" and .stream_key != null)][0] // empty')
  if [[ -z $stream ]]; then
    stream=$(signed --data '{"title": "Test picture", "description": "A clock and a tone."}' "$API/streams" | jq .stream)
  fi
  printf '%s' "$stream"
}

obs() {
  own_stream | PASSPHRASE=${PASSPHRASE:+&passphrase=$PASSPHRASE} jq --raw-output '
    (.rtmp_url | capture("^(?<server>.*)/(?<key>[^/]+)$")) as $rtmp
    | "OBS, Settings, Stream, Service: Custom…",
      "",
      "  RTMP   Server      \($rtmp.server)",
      "         Stream Key  \($rtmp.key)",
      "",
      "  SRT    Server      \(.srt_url)\(env.PASSPHRASE)",
      "         Stream Key  (empty)",
      "",
      "Then watch \(.hls_url | sub("/live-streams/.*"; ""))/live/\(.id)",
      "The test broadcaster pushes to the same stream. Before OBS does:",
      "docker compose --profile broadcast rm --stop --force broadcaster",
      "",
      "Whoever has the key can go live in the name of demo."'
}

clock() { # TEXT SIZE Y
  printf "drawtext=fontfile=%s:text='%s':fontsize=%s:fontcolor=white:box=1:boxcolor=black@0.7:boxborderw=12:x=(w-tw)/2:y=%s" \
    "$FONT" "$1" "$2" "$3"
}
push() {
  local size rate stream
  case $HEIGHT in
    1080) size=1920x1080 rate=4500k ;;
    720) size=1280x720 rate=2500k ;;
    480) size=854x480 rate=1200k ;;
    *)
      echo "broadcaster: BROADCAST_HEIGHT is 480, 720 or 1080, not $HEIGHT" >&2
      exit 2
      ;;
  esac
  stream=$(own_stream)
  printf 'broadcaster: %sp to %s, see %s\n' "$HEIGHT" "$SRT" "$(jq --raw-output .hls_url <<<"$stream")"
  # Closed GOPs of 2 s and no other keyframes: the source's rung is then passed through. The key as an option and not in
  # the URL, which ffmpeg writes into its log when it fails; there is no third way to tell it.
  exec ffmpeg -hide_banner -nostats -loglevel warning \
    -re -f lavfi -i "testsrc2=size=$size:rate=30,$(clock '%{localtime\:%T}' h/7 h*0.36),$(clock '%{pts\:hms}' h/14 h*0.58)" \
    -re -f lavfi -i sine=frequency=440:beep_factor=4:sample_rate=48000 \
    -c:v libx264 -preset superfast -tune zerolatency -profile:v high -pix_fmt yuv420p \
    -b:v "$rate" -maxrate "$rate" -bufsize "$rate" -g 60 -keyint_min 60 -sc_threshold 0 \
    -c:a aac -b:a 128k -ac 2 -filter:a volume=0.2 \
    -srt_streamid "publish:$(jq --raw-output .stream_key <<<"$stream")" ${PASSPHRASE:+-passphrase "$PASSPHRASE"} \
    -f mpegts "$SRT?mode=caller&latency=120000&pkt_size=1316"
}

case $verb in
  push) push ;;
  obs) obs ;;
  *)
    echo "broadcaster: push or obs, not $verb" >&2
    exit 2
    ;;
esac
