local typedefs = require "kong.db.schema.typedefs"


local SECRET = { type = "string", referenceable = true, encrypted = true }


local function required(method, field)
  return { conditional = {
    if_field = "auth_method", if_match = { eq = method },
    then_field = field, then_match = { required = true },
  } }
end


return {
  name = "hcv",
  fields = {
    {
      config = {
        type = "record",
        fields = {
          { protocol = { type = "string", required = true, default = "http", one_of = { "http", "https" } } },
          { host = { type = "string", required = true, default = "127.0.0.1" } },
          { port = { type = "integer", required = true, default = 8200, between = { 1, 65535 } } },
          { namespace = { type = "string" } },
          { mount = { type = "string", required = true, default = "secret" } },
          { kv = { type = "string", one_of = { "v1", "v2" } } },
          { ssl_verify = { type = "boolean" } },
          { ca_cert = { type = "string" } },
          { auth_method = { type = "string", required = true, default = "token", one_of = { "token", "kubernetes", "approle", "cert", "jwt" } } },
          { token = SECRET },
          { kube_role = { type = "string" } },
          { kube_api_token_file = { type = "string" } },
          { kube_auth_path = { type = "string" } },
          { approle_auth_path = { type = "string" } },
          { approle_role_id = SECRET },
          { approle_secret_id = SECRET },
          { approle_secret_id_file = { type = "string" } },
          { approle_response_wrapping = { type = "boolean", default = false } },
          { cert_auth_cert = { type = "string" } },
          { cert_auth_cert_key = SECRET },
          { cert_auth_role_name = { type = "string" } },
          { jwt_auth_path = { type = "string" } },
          { jwt_role = { type = "string" } },
          { jwt_token_file = { type = "string" } },
          { base64_decode = { type = "boolean" } },
          { decode_base64 = { type = "boolean" } },
          { ttl = typedefs.ttl },
          { neg_ttl = typedefs.ttl },
          { resurrect_ttl = typedefs.ttl },
          { resurrect_deleted = { type = "boolean" } },
          { version = { type = "string", match = "^%d+$" } },
        },
        entity_checks = {
          required("approle", "approle_role_id"),
          required("kubernetes", "kube_role"),
          required("cert", "cert_auth_cert"),
          required("cert", "cert_auth_cert_key"),
          required("jwt", "jwt_role"),
        },
      },
    },
  },
}
