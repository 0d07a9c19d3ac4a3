local typedefs = require "kong.db.schema.typedefs"


return {
  name = "azure",
  fields = {
    {
      config = {
        type = "record",
        fields = {
          { vault_uri = { type = "string", required = true, description = "URI of the key vault, such as https://example.vault.azure.net." } },
          { type = { type = "string", required = true, default = "secrets", one_of = { "secrets" }, description = "Kind of Key Vault object; only secrets can be read." } },
          { location = { type = "string", description = "Azure region of the key vault." } },
          { tenant_id = { type = "string", description = "Microsoft Entra tenant id." } },
          { client_id = { type = "string", description = "Client id of the application or of a user-assigned managed identity." } },
          { credentials_prefix = { type = "string", required = true, default = "AZURE", match = "^[%w_]+$", description = "Prefix of the environment variables that hold the login, such as AZURE_CLIENT_SECRET." } },
          { base64_decode = { type = "boolean", description = "Decode all secrets of this vault from base64." } },
          { decode_base64 = { type = "boolean", description = "An earlier name of base64_decode." } },
          { ttl = typedefs.ttl },
          { neg_ttl = typedefs.ttl },
          { resurrect_ttl = typedefs.ttl },
          { resurrect_deleted = { type = "boolean", description = "Treat a secret that was deleted or disabled like an outage." } },
          { version = { type = "string", match = "^%x+$", description = "Version of the secret, as Key Vault names it; for references." } },
        },
      },
    },
  },
}
