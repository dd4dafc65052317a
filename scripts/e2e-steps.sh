# Sourced by e2e and e2e-compose: what end-to-end tests need on whatever stack.
# shellcheck shell=bash
source "$(dirname "${BASH_SOURCE[0]}")/steps.sh"

# Real time cannot be shared: two checkouts' ladders at once would be too slow for two cores. The lock goes with
# the script's process.
take_real_time() {
  local lock=${XDG_CACHE_HOME:-$HOME/.cache}/marquee/real-time.lock
  mkdir -p "$(dirname "$lock")"
  exec 9>"$lock"
  flock --nonblock 9 || { header 'waiting for the end-to-end tests of another checkout' && flock --timeout 7200 9; }
}

# A folder a version of the list, so that checkouts of different age can share the cache.
tools=${XDG_CACHE_HOME:-$HOME/.cache}/marquee/e2e-python-$(sha256sum <e2e/requirements.txt | cut -c 1-12)
export MARQUEE_SCHEMATHESIS=$tools/bin/schemathesis
e2e_tools() {
  npm_install e2e
  [[ -e $tools/.marquee-installed ]] && return
  rm -rf "$tools"
  /usr/bin/python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check --requirement e2e/requirements.txt
  touch "$tools/.marquee-installed"
}

# One file after the other: they share the stack, two cores and real time.
node_tests() { node --test --test-concurrency=1 --test-reporter=spec --test-reporter-destination=stdout "$@"; }
