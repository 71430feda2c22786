#!/bin/sh
# Creates a cluster with one superuser and one database, as the official image's entrypoint does.
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    chown postgres: "$PGDATA"
    install --owner postgres --mode 600 "$POSTGRES_PASSWORD_FILE" /tmp/password
    runuser -u postgres -- initdb --username "$POSTGRES_USER" --pwfile /tmp/password --auth-local trust --auth-host scram-sha-256 --encoding UTF8 >/dev/null
    rm /tmp/password
    echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
    echo "CREATE DATABASE $POSTGRES_DB" | runuser -u postgres -- postgres --single -D "$PGDATA" postgres >/dev/null
fi
exec runuser -u postgres -- postgres -c listen_addresses='*'
