package gateway

// entitySchemas are Kong's own entities, as far as this package knows them, in
// Kong's schema language. A field of the type "any" is accepted and unused.
var entitySchemas = map[string]string{
	"services": `{"name":"services","fields":[
		{"id":{"type":"string","uuid":true}},
		{"name":{"type":"string","match":"^[%w%.%-_~]+$"}},
		{"protocol":{"type":"string","default":"http","one_of":["grpc","grpcs","http","https","tcp","tls","tls_passthrough","udp"]}},
		{"host":{"type":"string","required":true}},
		{"port":{"type":"integer","default":80,"between":[0,65535]}},
		{"path":{"type":"string","starts_with":"/"}},
		{"retries":{"type":"integer","default":5,"between":[0,32767]}},
		{"connect_timeout":{"type":"integer","default":60000,"between":[1,2147483646]}},
		{"read_timeout":{"type":"integer","default":60000,"between":[1,2147483646]}},
		{"write_timeout":{"type":"integer","default":60000,"between":[1,2147483646]}},
		{"enabled":{"type":"boolean","default":true}},
		{"tags":{"type":"set","elements":{"type":"string"}}},
		{"tls_verify":{"type":"any"}},{"tls_verify_depth":{"type":"any"}},
		{"ca_certificates":{"type":"any"}},{"client_certificate":{"type":"any"}},
		{"created_at":{"type":"integer"}},{"updated_at":{"type":"integer"}}]}`,
	"routes": `{"name":"routes","fields":[
		{"id":{"type":"string","uuid":true}},
		{"name":{"type":"string","match":"^[%w%.%-_~]+$"}},
		{"protocols":{"type":"set","default":["http","https"],"required":true,"len_min":1,"elements":{"type":"string","one_of":["grpc","grpcs","http","https","tcp","tls","tls_passthrough","udp"]}}},
		{"methods":{"type":"set","elements":{"type":"string","match":"^%u+$"}}},
		{"hosts":{"type":"array","elements":{"type":"string"}}},
		{"paths":{"type":"array","elements":{"type":"string","match_any":{"patterns":["^/","^~/"],"err":"should start with: / (fixed path) or ~/ (regex path)"}}}},
		{"headers":{"type":"map","keys":{"type":"string"},"values":{"type":"array","elements":{"type":"string"}}}},
		{"snis":{"type":"any"}},{"sources":{"type":"any"}},{"destinations":{"type":"any"}},
		{"https_redirect_status_code":{"type":"integer","default":426,"one_of":[426,301,302,307,308]}},
		{"regex_priority":{"type":"integer","default":0}},
		{"strip_path":{"type":"boolean","default":true}},
		{"preserve_host":{"type":"boolean","default":false}},
		{"path_handling":{"type":"string","default":"v0","one_of":["v0"]}},
		{"request_buffering":{"type":"boolean","default":true}},
		{"response_buffering":{"type":"boolean","default":true}},
		{"tags":{"type":"set","elements":{"type":"string"}}},
		{"service":{"type":"foreign"}},
		{"created_at":{"type":"integer"}},{"updated_at":{"type":"integer"}}],
		"entity_checks":[{"at_least_one_of":["methods","hosts","headers","paths"]}]}`,
	"consumers": `{"name":"consumers","fields":[
		{"id":{"type":"string","uuid":true}},
		{"username":{"type":"string"}},
		{"custom_id":{"type":"string"}},
		{"tags":{"type":"set","elements":{"type":"string"}}},
		{"created_at":{"type":"integer"}},{"updated_at":{"type":"integer"}}],
		"entity_checks":[{"at_least_one_of":["custom_id","username"]}]}`,
	"keyauth_credentials": `{"name":"keyauth_credentials","fields":[
		{"id":{"type":"string","uuid":true}},
		{"key":{"type":"string","required":true}},
		{"consumer":{"type":"foreign","required":true}},
		{"ttl":{"type":"integer"}},
		{"tags":{"type":"set","elements":{"type":"string"}}},
		{"created_at":{"type":"integer"}}]}`,
	"acls": `{"name":"acls","fields":[
		{"id":{"type":"string","uuid":true}},
		{"group":{"type":"string","required":true}},
		{"consumer":{"type":"foreign","required":true}},
		{"tags":{"type":"set","elements":{"type":"string"}}},
		{"created_at":{"type":"integer"}}]}`,
	"plugins": `{"name":"plugins","fields":[
		{"id":{"type":"string","uuid":true}},
		{"name":{"type":"string","required":true}},
		{"instance_name":{"type":"string"}},
		{"enabled":{"type":"boolean","default":true}},
		{"route":{"type":"foreign"}},{"service":{"type":"foreign"}},{"consumer":{"type":"foreign"}},
		{"protocols":{"type":"set","default":["grpc","grpcs","http","https"],"elements":{"type":"string","one_of":["grpc","grpcs","http","https","tcp","tls","tls_passthrough","udp","ws","wss"]}}},
		{"ordering":{"type":"any"}},
		{"tags":{"type":"set","elements":{"type":"string"}}},
		{"config":{"type":"any"}},
		{"created_at":{"type":"integer"}},{"updated_at":{"type":"integer"}}]}`,
	"vaults": `{"name":"vaults","fields":[
		{"id":{"type":"string","uuid":true}},
		{"name":{"type":"string","required":true}},
		{"prefix":{"type":"string","required":true,"match":"^%l[%l%d-]*[%l%d]$"}},
		{"description":{"type":"string"}},
		{"config":{"type":"record","required":true,"fields":[{"prefix":{"type":"string","match":"^[%a_][%w_]*$"}}]}},
		{"tags":{"type":"set","elements":{"type":"string"}}},
		{"created_at":{"type":"integer"}},{"updated_at":{"type":"integer"}}]}`,
}

// nestedEntities are the lists that an entity may hold of others that belong
// to it, and the field in which those name it.
var nestedEntities = map[string][]string{
	"services":  {"routes", "plugins"},
	"routes":    {"plugins"},
	"consumers": {"plugins", "keyauth_credentials", "acls"},
}

var foreignName = map[string]string{"services": "service", "routes": "route", "consumers": "consumer"}
