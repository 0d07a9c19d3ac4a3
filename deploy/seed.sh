#!/bin/sh
# Prepares a development Vault for docker-compose.yml: a policy, a token with
# that policy for Kong, and one credential of the consumer mobile-app.
# Running it again changes nothing.
set -eu

vault policy write kong-auth "$(dirname "$0")/kong-auth.hcl"

vault token lookup "$HCV_TOKEN" >/dev/null 2>&1 ||
  vault token create -id="$HCV_TOKEN" -policy=kong-auth -orphan -period=768h >/dev/null

vault kv put -mount=secret kong-auth/demo-access \
  access_token=demo-access \
  secret_token=demo-secret \
  consumer='{"username": "mobile-app"}'
