package kongtest

import (
	"os"
	"slices"
)

// standIns are the plugins of Kong's own that tests of an auth plugin need
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

func mustPluginSchema(text string) *schema {
	s, err := parsePluginSchema([]byte(text))
	if err != nil {
		panic(err)
	}
	return s
}

// keyAuth is Kong's key-auth: like it, it stands aside when the request is
// authenticated already and anonymous is set, and takes the anonymous consumer
// when nobody has.
func keyAuth(x *exchange, config map[string]any, w *worker) {
	if config["run_on_preflight"] != true && x.up.Method == "OPTIONS" {
		return
	}
	anonymous := text(config["anonymous"])
	if anonymous != "" && x.credential != nil {
		return
	}
	status, message := authenticateKey(x, config, w)
	switch {
	case status == 0:
	case anonymous == "":
		x.respHeader = setHeader(x.respHeader, "WWW-Authenticate", "Key")
		x.fail(status, message)
	default:
		consumer := x.req.Consumers.Consumer(anonymous)
		if consumer == nil {
			consumer = x.req.Consumers.ConsumerByUsername(anonymous)
		}
		if consumer == nil {
			x.say("error", "anonymous consumer "+anonymous+" is unknown or doesn't exist")
			x.unexpected()
			return
		}
		setConsumer(x, consumer, nil)
	}
}

func authenticateKey(x *exchange, config map[string]any, w *worker) (status int, message string) {
	headers, query := headerTable(x.up.Header, 100), queryTable(x.up.RawQuery, 100)
	names, _ := config["key_names"].([]any)
	var key any
	for _, n := range names {
		name := text(n)
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
			x.up.Header = setHeader(x.up.Header, name)
			if query[name] != nil {
				delete(query, name)
				x.up.RawQuery, _ = encodeArgs(query)
			}
		}
		break
	}
	switch key := key.(type) {
	case []any:
		return 401, "Duplicate API key found"
	case string:
		if key == "" {
			break
		}
		credential, ok := w.gen.snapshot.Load().keys[key]
		if !ok {
			return 401, "Unauthorized"
		}
		consumer := x.req.Consumers.Consumer(credential.consumer)
		if consumer == nil {
			return 401, "Unauthorized"
		}
		setConsumer(x, consumer, map[string]any{"id": credential.id, "consumer": map[string]any{"id": consumer.ID}})
		return 0, ""
	}
	return 401, "No API key found in request"
}

// setConsumer is what every one of Kong's auth plugins does in the end.
func setConsumer(x *exchange, consumer *Consumer, credential map[string]any) {
	x.consumer, x.credential = consumer.table(), credential
	set := func(name, value string) {
		x.up.Header = setHeader(x.up.Header, name, slices.DeleteFunc([]string{value}, func(v string) bool { return v == "" })...)
	}
	set("X-Consumer-ID", consumer.ID)
	set("X-Consumer-Custom-ID", consumer.CustomID)
	set("X-Consumer-Username", consumer.Username)
	set("X-Credential-Identifier", text(credential["id"]))
	if credential == nil {
		set("X-Anonymous-Consumer", "true")
	} else {
		set("X-Anonymous-Consumer", "")
	}
}

// requestTermination answers every request that gets as far.
func requestTermination(x *exchange, config map[string]any, _ *worker) {
	message := text(config["message"])
	if message == "" {
		message = "Service unavailable"
	}
	x.fail(int(config["status_code"].(float64)), message)
}

// fileLog appends a line to a file for each request.
func fileLog(x *exchange, config map[string]any) {
	f, err := os.OpenFile(text(config["path"]), os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644)
	if err == nil {
		defer f.Close()
		_, err = f.WriteString(x.serialized() + "\n")
	}
	if err != nil {
		x.say("error", "failed to write the file: "+err.Error())
	}
}
