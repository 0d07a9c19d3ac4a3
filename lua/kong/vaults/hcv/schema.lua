local typedefs = require "kong.db.schema.typedefs"


local SECRET = { type = "string", referenceable = true, encrypted = true }


local function required(method, field)
  return { conditional = { if_field = "auth_method", if_match = { eq = method }, then_field = field, then_match = { required = true } } }
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
          { auth_method = { type = "string", required = true, default = "token", one_of = {
            "token", "kubernetes", "approle", "cert", "jwt", "azure", "gcp_iam", "gcp_gce", "aws_iam", "aws_ec2",
          } } },
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
          { oauth2_role_name = { type = "string" } },
          { oauth2_token_endpoint = { type = "string" } },
          { oauth2_client_id = SECRET },
          { oauth2_client_secret = SECRET },
          { oauth2_audiences = { type = "string" } },
          { azure_auth_role = { type = "string" } },
          { azure_login_path = { type = "string" } },
          { azure_resource = { type = "string" } },
          { gcp_auth_role = { type = "string" } },
          { gcp_login_path = { type = "string" } },
          { gcp_service_account = { type = "string" } },
          { gcp_jwt_exp = { type = "integer", between = { 0, 900 } } },
          { aws_auth_role = { type = "string" } },
          { aws_login_path = { type = "string" } },
          { aws_auth_region = { type = "string" } },
          { aws_auth_nonce = SECRET },
          { aws_iam_server_id = { type = "string" } },
          { aws_access_key_id = SECRET },
          { aws_secret_access_key = SECRET },
          { aws_sts_endpoint_url = { type = "string" } },
          { aws_assume_role_arn = { type = "string" } },
          { aws_role_session_name = { type = "string" } },
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
          { conditional_at_least_one_of = {
            if_field = "auth_method", if_match = { eq = "jwt" },
            then_at_least_one_of = { "jwt_role", "oauth2_role_name" },
          } },
          { mutually_required = { "oauth2_token_endpoint", "oauth2_client_id", "oauth2_client_secret" } },
          required("azure", "azure_auth_role"),
          required("gcp_iam", "gcp_auth_role"),
          required("gcp_iam", "gcp_service_account"),
          required("gcp_iam", "gcp_jwt_exp"),
          required("gcp_gce", "gcp_auth_role"),
          required("aws_iam", "aws_auth_role"),
          required("aws_iam", "aws_auth_region"),
          { mutually_required = { "aws_access_key_id", "aws_secret_access_key" } },
          required("aws_ec2", "aws_auth_role"),
          required("aws_ec2", "aws_auth_nonce"),
        },
      },
    },
  },
}
