-- Answers with what it has for a secret, and with what kong.vault.get makes of the
-- query argument ref, after as many tries as times says.
local kong = kong


local function access(_, conf)
  local ref = kong.request.get_query_arg("ref")
  local times = ref and tonumber(kong.request.get_query_arg("times") or 1) or 0
  local value, err
  for _ = 1, times do
    value, err = kong.vault.get(ref)
  end

  return kong.response.exit(200, { secret = conf.secret, value = value, err = err, times = times })
end


return { PRIORITY = 1000, VERSION = "1.0.0", access = access }
