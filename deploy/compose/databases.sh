#!/usr/bin/env bash
# The superuser's part of the databases (migrations/bootstrap/bootstrap.sql), at each start: roles get the
# passwords they have now. psql takes them from its environment, so that they stand in no command line.
set -euo pipefail

for file in /run/secrets/*_PASSWORD; do
  name=${file##*/}
  export "$name=$(<"$file")"
done
export PGPASSWORD=$POSTGRES_PASSWORD PGHOST=postgres PGUSER=postgres PGDATABASE=postgres PGCONNECT_TIMEOUT=10
if ! psql --no-psqlrc --quiet --command 'SELECT' >/dev/null; then
  echo 'databases: PostgreSQL does not let us in. Its password is the one it was first started with: if POSTGRES_PASSWORD' \
    'was changed since, change it in the database too (ALTER ROLE postgres PASSWORD …).' >&2
  exit 1
fi
psql --no-psqlrc --file /usr/local/share/marquee/bootstrap.sql
echo 'databases: ready'
