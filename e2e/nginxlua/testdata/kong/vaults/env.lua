-- What the strategies use of Kong's own vault "env".
local ENV = {}


local function init()
  for _, name in ipairs({ "VAULT_AUTH_SECRETS_LISTEN", "AZURE_CLIENT_SECRET" }) do
    ENV[name] = os.getenv(name)
  end
end


local function get(_, resource)
  return ENV[resource]
end


return { init = init, get = get }
