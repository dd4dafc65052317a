#!/usr/bin/env bash
# The demo's accounts, those of `make demo`: admin (an administrator), viewer (with a subscription) and demo (the
# broadcaster).
#
#   accounts create      makes them, once: what an operator changes or deletes afterwards stays changed or deleted
#   accounts passwords   shows how to sign in
#   accounts none        for production: makes nothing
set -euo pipefail

MADE=/var/lib/marquee/accounts/made

password() { cat "/run/secrets/${1^^}_PASSWORD"; }
create() { # NAME ROLE
  password "$1" | auth admin create --username "$1" --email "$1@marquee.example" --role "$2"
}

case ${1:-create} in
  create)
    # The mark says that all of it is done; a database without a single account is a new one.
    if [[ -e $MADE && -n $(auth admin list --limit 1) ]]; then
      echo 'accounts: made at an earlier start'
    else
      create admin admin
      create viewer user
      create demo user
      auth admin subscribe --username viewer --plan monthly
      : >"$MADE"
    fi
    echo 'accounts: admin, viewer and demo; their passwords: docker compose run --rm --no-deps accounts passwords'
    ;;
  passwords)
    for name in admin viewer demo; do printf '%s / %s\n' "$name" "$(password "$name")"; done
    ;;
  none)
    if [[ -e $MADE ]]; then
      echo 'accounts: this database was made by the demo, and may still have its accounts admin, viewer and demo:' \
        'docker compose exec auth-service auth admin disable --username …' >&2
    fi
    ;;
  *)
    echo "accounts: create, passwords or none, not $1" >&2
    exit 2
    ;;
esac
