# All that Kong's token needs: to read the credentials, one by one, in KV v2 at
# secret/. (KV v1: path "secret/kong-auth/*".)
path "secret/data/kong-auth/*" {
  capabilities = ["read"]
}

# For revocation_interval: to list their names as well. (KV v1: path
# "secret/kong-auth".)
#path "secret/metadata/kong-auth" {
#  capabilities = ["list"]
#}
