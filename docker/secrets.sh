#!/bin/sh
# Creates the secrets that compose.yaml mounts, with random passwords, and the host's settings in .env if no other FOLDER
# is named. Files that exist stay as they are.
#   sh docker/secrets.sh [FOLDER]
set -eu
here=$(dirname "$0")
[ $# -gt 0 ] || [ -e "$here/.env" ] || cp "$here/.env.example" "$here/.env"
folder=${1:-$here/secrets}
mkdir -p "$folder"
# The folder keeps other users out; the containers' own users must be able to read the files.
chmod 700 "$folder"
cd "$folder"

random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
secret() { [ -e "$1" ] || printf '%s\n' "$2" >"$1"; }

secret database_password "$(random)"
secret database_url "postgresql://nightread:$(cat database_password)@database/nightread"
secret broker_password "$(random)"
secret broker_conf "requirepass $(cat broker_password)"
secret broker_url "redis://:$(cat broker_password)@broker:6379/0"
secret s3_secret "$(random)"
secret aws_credentials "[default]
aws_access_key_id = nightread
aws_secret_access_key = $(cat s3_secret)"
secret s3_identities "{\"identities\": [{\"name\": \"nightread\", \"actions\": [\"Admin\", \"Read\", \"Write\", \"List\", \"Tagging\"],
\"credentials\": [{\"accessKey\": \"nightread\", \"secretKey\": \"$(cat s3_secret)\"}]}]}"
# Servers inside the store that ask for a key want this one; SeaweedFS looks for a file of this name.
secret security.toml "[jwt.filer_signing]
key = \"$(random)\""
# Addresses that nightly sends its summaries to; an empty file means none.
secret webhook_url ""
secret smtp_url ""
chmod 444 ./*
echo "secrets: $folder"
