-- Asks the plugin server vault-auth for a secret, over its local socket
-- (package secretsocket). The strategies azure and hcv share it.
local env = require "kong.vaults.env"
local cjson = require("cjson.safe").new()


local ngx = ngx
local sub = string.sub
local fmt = string.format
local gsub = string.gsub
local find = string.find
local match = string.match
local ipairs = ipairs


local TIMEOUT = 10 -- seconds
local NO_COSOCKETS = { init = true, init_worker = true, set = true, header_filter = true, body_filter = true, log = true }
local DEFAULT_PATH = "/run/vault-auth/vault-auth-secrets.socket"


local function socket_path()
  local plugin = kong and kong.configuration and kong.configuration.pluginserver_vault_auth_socket
  local beside = plugin and gsub(plugin, "%.socket$", "") .. "-secrets.socket"
  return (gsub(env.get({}, "VAULT_AUTH_SECRETS_LISTEN") or beside or DEFAULT_PATH, "^unix:", ""))
end


local function connect(path)
  if NO_COSOCKETS[ngx.get_phase()] then
    local sock = require "socket.unix"()
    sock:settimeout(TIMEOUT)
    return sock, sock:connect(path)
  end

  local sock = ngx.socket.tcp()
  sock:settimeout(TIMEOUT * 1000)
  return sock, sock:connect("unix:" .. path)
end


local function exchange(body)
  local path, answer = socket_path()
  local sock, ok, err = connect(path)
  if ok then
    ok, err = sock:send(fmt("POST /secret HTTP/1.0\r\nHost: vault-auth\r\nContent-Length: %d\r\n\r\n%s", #body, body))
  end
  if ok then
    answer, err = sock:receive("*a")
  end

  sock:close()
  local status = match(answer or "", "^HTTP/1%.%d (%d%d%d)")
  local _, head = find(answer or "", "\r\n\r\n", 1, true)
  local reply = head and cjson.decode(sub(answer, head + 1))
  if not status or not reply then
    return nil, fmt("the plugin server vault-auth can't be asked at %s: %s", path, err or "it gave no answer")
  end

  return status, reply
end


-- Kong answers with its last value when a strategy has none, whatever the reason.
-- That value is forgotten, as a secret that was deleted or disabled is no outage. The
-- keys are kong/pdk/vault.lua's: a hash of the settings, a dot, and the reference.
local function forget(name, fields, conf, resource, version)
  local text = name .. ";"
  for _, field in ipairs(fields) do
    local key = next(field)
    text = conf[key] == nil and text or fmt("%s%s=%s;", text, key, tostring(conf[key]))
  end

  local secrets = ngx.shared.kong_secrets
  local hash = require("ngx.base64").encode_base64url(ngx.md5_bin(text)) .. "."
  for _, key in ipairs(secrets and secrets:get_keys(0) or {}) do
    local ref = sub(key, 1, #hash) == hash and require("kong.pdk.vault").parse_reference(sub(key, #hash + 1))
    if ref and ref.resource == resource and ref.version == version then
      secrets:delete(key)
    end
  end
end


local function get(name, fields, conf, resource, version, environ)
  local question = { vault = name, config = conf, environ = environ, resource = resource, version = version }
  local status, reply = exchange(cjson.encode(question))
  if status == "200" then
    return reply.value, nil, reply.ttl
  end
  if status == "404" and conf.resurrect_deleted ~= true then
    forget(name, fields, conf, resource, version)
  end

  return nil, status and reply.error or reply
end


-- env.init remembers the environment, which nginx takes from its workers.
return { init = env.init, get = get }
