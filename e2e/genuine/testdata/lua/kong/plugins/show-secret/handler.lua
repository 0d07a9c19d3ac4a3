-- Answers with what it has for a secret, and with what kong.vault.get makes of the
-- query argument ref.
local kong = kong


local function access(_, conf)
  local ref = kong.request.get_query_arg("ref")
  local value, err
  if ref then
    value, err = kong.vault.get(ref)
  end

  return kong.response.exit(200, { secret = conf.secret, value = value, err = err })
end


return { PRIORITY = 1000, VERSION = "1.0.0", access = access }
