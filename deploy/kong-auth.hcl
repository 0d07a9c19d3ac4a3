# All that Kong's token needs: to read single credentials, in KV v2 at secret/.
# (KV v1: path "secret/kong-auth/*".)
path "secret/data/kong-auth/*" {
  capabilities = ["read"]
}

# For revocation_interval: to list their names too. (KV v1: path
# "secret/kong-auth".)
#path "secret/metadata/kong-auth" {
#  capabilities = ["list"]
#}
