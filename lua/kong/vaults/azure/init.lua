-- Kong's vault "azure": secrets of Azure Key Vault, by the plugin server vault-auth.
local kong_meta = require "kong.meta"
local env = require "kong.vaults.env"
local schema = require "kong.vaults.azure.schema"
local socket = require "kong.vaults.vault_auth_socket"


local ipairs = ipairs


local FIELDS = schema.fields[1].config.fields
local LOGIN = { "_TENANT_ID", "_CLIENT_ID", "_CLIENT_SECRET" }


local function get(conf, resource, version)
  local environ = {}
  for _, suffix in ipairs(LOGIN) do
    local name = (conf.credentials_prefix or "AZURE") .. suffix
    environ[name] = env.get({}, name)
  end

  return socket.get("azure", FIELDS, conf, resource, version, environ)
end


return {
  VERSION = kong_meta.version,
  init = socket.init,
  get = get,
}
