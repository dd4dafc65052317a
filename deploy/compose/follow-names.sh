#!/bin/sh
# nginx looks its upstreams' names up when it starts, and a container that was made anew has another address. So its
# names are asked for again each second, and nginx loads its configuration again when an answer changed: connections
# go on, and none is refused. nginx' own image runs this before nginx itself.
set -eu

names="${EDGE_GATEWAY%:*} ${EDGE_PROXY%:*} ${EDGE_S3%:*}"

addresses() {
  for name in $names; do getent ahostsv4 "$name" | awk -v name="$name" 'NR == 1 { print name, $1 }'; done
}

follow() {
  before=$(addresses)
  while sleep 1; do
    now=$(addresses)
    # A name without an address is a container that is away; nginx would refuse to load.
    if [ "$now" != "$before" ] && [ "$(echo "$now" | wc -l)" -eq "$(echo "$names" | wc -w)" ]; then
      if nginx -s reload; then before=$now; fi
    fi
  done
}

follow &
