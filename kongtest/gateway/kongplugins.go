package gateway

import (
	"os"

	"kong-vault-auth/kongtest/internal/lua"
	"kong-vault-auth/kongtest/schema"
)

// standIns stand in for those of Kong's own plugins that tests of an auth plugin need
// beside it, with the parts of their configuration that matter there.
func standIns() []*plugin {
	all := []*plugin{
		{name: "key-auth", priority: 1250, access: keyAuth, schema: mustPluginSchema(`{"name":"key-auth","fields":[
			{"config":{"type":"record","fields":[
				{"key_names":{"type":"array","required":true,"default":["apikey"],"elements":{"type":"string"}}},
				{"key_in_header":{"type":"boolean","required":true,"default":true}},
				{"key_in_query":{"type":"boolean","required":true,"default":true}},
				{"hide_credentials":{"type":"boolean","required":true,"default":false}},
				{"anonymous":{"type":"string"}},
				{"run_on_preflight":{"type":"boolean","required":true,"default":true}}]}}]}`)},
		{name: "acl", priority: 950, access: acl, schema: mustPluginSchema(`{"name":"acl","fields":[
			{"config":{"type":"record","fields":[
				{"allow":{"type":"array","elements":{"type":"string"}}},
				{"deny":{"type":"array","elements":{"type":"string"}}},
				{"hide_groups_header":{"type":"boolean","required":true,"default":false}},
				{"always_use_authenticated_groups":{"type":"boolean","required":true,"default":false}}],
				"entity_checks":[{"only_one_of":["allow","deny"]}]}}]}`)},
		{name: "request-termination", priority: 2, access: requestTermination, schema: mustPluginSchema(`{"name":"request-termination","fields":[
			{"config":{"type":"record","fields":[
				{"status_code":{"type":"integer","required":true,"default":503,"between":[100,599]}},
				{"message":{"type":"string"}}]}}]}`)},
		{name: "file-log", priority: 9, log: fileLog, schema: mustPluginSchema(`{"name":"file-log","fields":[
			{"config":{"type":"record","fields":[
				{"path":{"type":"string","required":true}},
				{"reopen":{"type":"boolean","required":true,"default":false}}]}}]}`)},
	}
	for _, p := range all {
		p.phases = []string{"access"}
		if p.log != nil {
			p.phases = []string{"log"}
		}
	}
	return all
}

func mustPluginSchema(text string) *schema.Schema {
	s, err := schema.ParsePlugin([]byte(text))
	if err != nil {
		panic(err)
	}
	return s
}

// keyAuth is Kong's key-auth. With anonymous set, it does nothing if the request is
// authenticated already, and sets the anonymous consumer if the client isn't.
func keyAuth(x *exchange, config map[string]any, w *worker) {
	if config["run_on_preflight"] != true && x.Upstream.Method == "OPTIONS" {
		return
	}
	anonymous := lua.Text(config["anonymous"])
	if anonymous != "" && x.Outcome().Credential != nil {
		return
	}
	message := authenticateKey(x, config, w)
	switch {
	case message == "":
	case anonymous == "":
		x.pdk("kong.response.set_header", "WWW-Authenticate", "Key")
		x.Fail(401, message)
	default:
		consumer, _ := x.pdk("kong.client.load_consumer", anonymous, true).(map[string]any)
		if consumer == nil {
			x.Log("error", "anonymous consumer "+anonymous+" is unknown or doesn't exist")
			x.unexpected()
			return
		}
		setConsumer(x, consumer, nil)
	}
}

// authenticateKey returns the message of a 401, or "" if the client is
// authenticated.
func authenticateKey(x *exchange, config map[string]any, w *worker) string {
	switch key := findKey(x, config).(type) {
	case []any:
		return "Duplicate API key found"
	case string:
		if key == "" {
			break
		}
		credential, ok := w.gen.snapshot.Load().keys[key]
		if !ok {
			return "Unauthorized"
		}
		consumer, _ := x.pdk("kong.client.load_consumer", credential.consumer, false).(map[string]any)
		if consumer == nil {
			return "Unauthorized"
		}
		setConsumer(x, consumer, map[string]any{"id": credential.id, "consumer": map[string]any{"id": consumer["id"]}})
		return ""
	}
	return "No API key found in request"
}

// findKey returns the value of the first key_names that the request has, and
// removes it if hide_credentials is set.
func findKey(x *exchange, config map[string]any) any {
	headers, _ := x.pdk("kong.request.get_headers", 100.0).(map[string]any)
	query, _ := x.pdk("kong.request.get_query", 100.0).(map[string]any)
	names, _ := config["key_names"].([]any)
	for _, n := range names {
		name := lua.Text(n)
		var key any
		if config["key_in_header"] == true {
			key = headers[name]
		}
		if key == nil && config["key_in_query"] == true {
			key = query[name]
		}
		if key == nil {
			continue
		}
		if config["hide_credentials"] == true {
			x.pdk("kong.service.request.clear_header", name)
			if query[name] != nil {
				delete(query, name)
				x.pdk("kong.service.request.set_query", query)
			}
		}
		return key
	}
	return nil
}

// setConsumer is what each of Kong's auth plugins does in the end.
func setConsumer(x *exchange, consumer, credential map[string]any) {
	x.pdk("kong.client.authenticate", consumer, credential)
	set := func(name, value string) {
		if value == "" {
			x.pdk("kong.service.request.clear_header", name)
		} else {
			x.pdk("kong.service.request.set_header", name, value)
		}
	}
	set("X-Consumer-ID", lua.Text(consumer["id"]))
	set("X-Consumer-Custom-ID", lua.Text(consumer["custom_id"]))
	set("X-Consumer-Username", lua.Text(consumer["username"]))
	set("X-Credential-Identifier", lua.Text(credential["id"]))
	if credential == nil {
		set("X-Anonymous-Consumer", "true")
	} else {
		set("X-Anonymous-Consumer", "")
	}
}

// pdk calls a PDK function for one of Kong's own plugins. An error answers the
// request, as a Lua error in a plugin does.
func (x *exchange) pdk(name string, args ...any) any {
	v, err := x.PDK(name, args...)
	if err != nil {
		x.Log("error", err.Error())
		x.unexpected()
	}
	return v
}

// requestTermination answers every request that reaches it.
func requestTermination(x *exchange, config map[string]any, _ *worker) {
	message := lua.Text(config["message"])
	if message == "" {
		message = "Service unavailable"
	}
	x.Fail(int(config["status_code"].(float64)), message)
}

// fileLog appends a line to a file for each request.
func fileLog(x *exchange, config map[string]any) {
	f, err := os.OpenFile(lua.Text(config["path"]), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err == nil {
		defer f.Close()
		_, err = f.WriteString(x.Serialized() + "\n")
	}
	if err != nil {
		x.Log("error", "failed to write the file: "+err.Error())
	}
}
