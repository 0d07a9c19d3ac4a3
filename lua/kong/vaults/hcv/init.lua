-- Kong's vault "hcv": secrets of HashiCorp Vault, by the plugin server vault-auth.
local kong_meta = require "kong.meta"
local schema = require "kong.vaults.hcv.schema"
local socket = require "kong.vaults.vault_auth_socket"


local FIELDS = schema.fields[1].config.fields


local function get(conf, resource, version)
  return socket.get("hcv", FIELDS, conf, resource, version)
end


return {
  VERSION = kong_meta.version,
  init = socket.init,
  get = get,
}
