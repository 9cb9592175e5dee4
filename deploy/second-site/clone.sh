#!/bin/sh
# Make a new data directory here that follows the first site: an asynchronous standby, for `collector site promote`.
#
#   FIRST_SITE="host=haproxy.site1 port=5433 user=replicator passfile=/var/lib/postgresql/.pgpass" \
#   DATA=/var/lib/postgresql/15/site2 sudo -E -u postgres sh clone.sh
#
# FIRST_SITE has no password: it belongs into the passfile (0600). Start the server on DATA afterwards.
set -eu
: "${FIRST_SITE:?the first site, as libpq reads it}"
: "${DATA:?the new data directory}"
here=$(cd "$(dirname "$0")" && pwd)
bin=${PGBIN:-/usr/lib/postgresql/15/bin}

"$bin/pg_basebackup" --pgdata "$DATA" --dbname "$FIRST_SITE" --wal-method=stream --checkpoint=fast --no-password
# the first site's own settings (Patroni's, its synchronous standbys) must not rule here
rm -f "$DATA"/postgresql.base.conf "$DATA"/patroni.dynamic.json "$DATA"/recovery.signal
cp "$here/postgresql.conf" "$DATA/postgresql.conf"
cp "$here/pg_hba.conf" "$DATA/pg_hba.conf"
cat > "$DATA/postgresql.auto.conf" <<CONF
primary_conninfo = '$FIRST_SITE application_name=site2'
recovery_target_timeline = 'latest'
CONF
touch "$DATA/standby.signal"
chmod 700 "$DATA"
