package recording

import (
	"fmt"
	"strings"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// Case is one request and what the plugin does with it.
type Case struct {
	Name    string
	Request string        // HTTP/1, all bytes; "$HOST" stands for the proxy's address
	HTTP2   *http2Request // instead of Request
	Trusted bool          // the client is one of Kong's trusted_ips
	script                // of the plugin
}

// http2Request is a request over HTTP/2 without TLS.
type http2Request struct {
	Method, Path string
	Header       []string // name, value, ...
	Body         string
	NoLength     bool // the body comes without a Content-Length
}

// Config is the declarative configuration in which the cases run.
func Config(u *Upstream) string {
	return fmt.Sprintf(`_format_version: "3.0"
services:
- name: echo
  url: http://%[1]s/base
  routes:
  - {name: r, paths: [/r], plugins: [{name: probe, config: {name: r}}]}
- name: grpc
  url: grpc://%[2]s
  routes:
  - {name: grpc, protocols: [grpc], paths: [/pkg.Service], plugins: [{name: probe, config: {name: grpc}}]}
- name: after-key-auth
  url: http://%[1]s
  routes:
  - name: k
    paths: [/k]
    plugins: [{name: key-auth, config: {hide_credentials: true}}, {name: probe, config: {name: k}}]
consumers:
- {id: 11111111-1111-4111-8111-111111111111, username: alice, custom_id: a-1, tags: [one, two], created_at: 1700000000, keyauth_credentials: [{id: 33333333-3333-4333-8333-333333333333, key: alice-key, created_at: 1700000000}]}
- {id: 22222222-2222-4222-8222-222222222222, username: bob, created_at: 1700000000}
- {id: 44444444-4444-4444-8444-444444444444, custom_id: only-custom, created_at: 1700000000}
`, u.plain.Addr(), u.grpc.Addr())
}

var alice = &pb.Consumer{Id: "11111111-1111-4111-8111-111111111111", Username: "alice", CustomId: "a-1", CreatedAt: 1700000000, Tags: []string{"one", "two"}}

// Cases are all requests that are recorded.
func Cases() []Case {
	var all []Case
	add := func(c Case, calls ...Call) {
		c.calls = append(c.calls, calls...)
		all = append(all, c)
	}
	get := func(name, head string, calls ...Call) {
		add(Case{Name: name, Request: request("GET", "/r/x", head, "")}, calls...)
	}

	// What a plugin reads of a request.
	headers := call("kong.request.get_headers", &pb.Int{V: 1000})
	for _, h := range []struct{ name, lines string }{
		{"plain", "X-One: 1\r\nx-two: two words\r\n"},
		{"repeated", "X-A: 1\r\nX-B: 2\r\nx-a: 3\r\nX-A: 1\r\n"},
		{"empty value", "X-Empty:\r\nX-Blank:   \r\n"},
		{"underscores", "X_Consumer_ID: a\r\nX-Consumer-ID: b\r\nx_consumer-id: c\r\n"},
		{"not UTF-8", "X-Latin: caf\xe9\r\nX-Bytes: \x80\xff\xfe\r\n"},
		{"UTF-8", "X-Utf8: caf\u00e9 \u2615\r\n"},
		{"names with odd characters", "X.Dot: 1\r\nX$Dollar: 2\r\nX!: 3\r\n"},
		{"a tab and blanks around a value", "X-Tab: \t a \t b \t \r\n"},
		{"Connection names a header", "Connection: X-Consumer-ID, close\r\nX-Consumer-ID: me\r\n"},
		{"Cookie twice", "Cookie: a=1\r\nCookie: b=2\r\n"},
		{"Host with a port and capitals", "X-After: 1\r\n"},
	} {
		get("get_headers: "+h.name, h.lines, headers)
	}
	add(Case{Name: "get_headers: over the limit", Request: request("GET", "/r/x", many(1100), "")}, headers)
	add(Case{Name: "get_headers: over the default limit", Request: request("GET", "/r/x", many(150), "")}, call("kong.request.get_headers", &pb.Int{V: 100}))
	get("get_headers: limit out of range", "", call("kong.request.get_headers", &pb.Int{V: 1001}))
	get("get_header: the first of several", "X-A: 1\r\nX-A: 2\r\n", call("kong.request.get_header", &pb.String{V: "x-a"}))
	get("get_header: none", "", call("kong.request.get_header", &pb.String{V: "x-a"}))
	get("get_header: with an underscore for a hyphen", "X-A: 1\r\n", call("kong.request.get_header", &pb.String{V: "x_a"}))

	for _, q := range []string{"", "?", "?a=1", "?a=1&a=2&b", "?a=%20+%zz", "?a=caf%C3%A9", "?a=caf\xe9", "?x=a%00b", "?a[]=1;b=2", "?=1&&", "?" + strings.Repeat("a=1&", 150)} {
		name := q
		if len(name) > 20 {
			name = name[:20] + "..."
		}
		add(Case{Name: "get_raw_query: " + fmt.Sprintf("%+q", name), Request: request("GET", "/r/x"+q, "", "")}, call("kong.request.get_raw_query", nil))
	}
	for _, m := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
		add(Case{Name: "get_method: " + m, Request: request(m, "/r/x", "", "")}, call("kong.request.get_method", nil))
	}
	for _, v := range []string{"request_uri", "scheme", "host", "server_port", "kong_request_id", "remote_addr", "no_such_variable"} {
		name := "get_var: " + v
		add(Case{Name: name, Request: request("GET", "/r/x?a=1", "", "")}, call("kong.nginx.get_var", &pb.String{V: v}))
	}

	// Bodies.
	rawBody := call("kong.request.get_raw_body", nil)
	for _, b := range []struct{ name, body string }{
		{"none", ""}, {"short", "a=1&b=2"}, {"not UTF-8", "\xff\x00\xfe"}, {"as large as the buffer", strings.Repeat("x", 8<<10)},
		{"a quarter over the buffer", strings.Repeat("0123456789", 1000)}, {"in a file", strings.Repeat("0123456789", 2000)},
	} {
		head := ""
		if b.body != "" {
			head = fmt.Sprintf("Content-Length: %d\r\n", len(b.body))
		}
		add(Case{Name: "get_raw_body: " + b.name, Request: request("POST", "/r/x", head, b.body)}, rawBody)
	}
	add(Case{Name: "get_raw_body: chunked", Request: request("POST", "/r/x", "Transfer-Encoding: chunked\r\n", "3\r\na=1\r\n4\r\n&b=2\r\n0\r\n\r\n")}, rawBody)
	add(Case{Name: "get_raw_body: Content-Length 0", Request: request("POST", "/r/x", "Content-Length: 0\r\n", "")}, rawBody)
	add(Case{Name: "get_raw_body: Expect", Request: request("POST", "/r/x", "Expect: 100-continue\r\nContent-Length: 3\r\n", "abc")}, rawBody)
	add(Case{Name: "a body that nobody asked for", Request: request("POST", "/r/x", "Content-Length: 3\r\n", "abc")})

	// Client addresses.
	for _, trusted := range []bool{false, true} {
		for _, h := range []struct{ name, lines string }{
			{"no header", ""},
			{"X-Real-IP", "X-Real-IP: 10.1.2.3\r\n"},
			{"X-Real-IP with a port", "X-Real-IP: 10.1.2.3:99\r\n"},
			{"X-Real-IP of version 6", "X-Real-IP: 2001:db8::1\r\n"},
			{"X-Real-IP list", "X-Real-IP: 10.9.9.9, 10.1.2.3\r\n"},
			{"X-Real-IP twice", "X-Real-IP: 10.9.9.9\r\nX-Real-IP: 10.1.2.3\r\n"},
			{"X-Real-IP is no address", "X-Real-IP: nobody\r\n"},
			{"X-Forwarded-For", "X-Forwarded-For: 10.1.2.3\r\nX-Forwarded-Proto: https\r\nX-Forwarded-Host: example.com\r\nX-Forwarded-Port: 444\r\nX-Forwarded-Prefix: /p\r\nX-Forwarded-Path: /q\r\n"},
		} {
			add(Case{Name: fmt.Sprintf("get_forwarded_ip: %s, trusted %t", h.name, trusted), Request: request("GET", "/r/x", h.lines, ""), Trusted: trusted}, call("kong.client.get_forwarded_ip", nil), call("kong.client.get_ip", nil))
		}
	}

	// Consumers.
	for _, c := range []struct {
		id         string
		byUsername bool
	}{
		{alice.Id, false}, {alice.Id, true}, {"alice", true}, {"bob", true}, {"nobody", true}, {"44444444-4444-4444-8444-444444444444", false},
		{"55555555-5555-4555-8555-555555555555", false}, {"alice", false}, {"", true},
	} {
		get(fmt.Sprintf("load_consumer: %q by username %t", c.id, c.byUsername), "", call("kong.client.load_consumer", &pb.ConsumerSpec{Id: c.id, ByUsername: c.byUsername}))
	}
	credential, consumer := call("kong.client.get_credential", nil), call("kong.client.get_consumer", nil)
	get("get_credential: nobody is authenticated", "", credential, consumer)
	add(Case{Name: "get_credential: after key-auth", Request: request("GET", "/k/x", "apikey: alice-key\r\n", "")}, credential, consumer, headers)
	get("get_credential: after authenticate with one", "", authenticate(true), credential, consumer)
	get("get_credential: after authenticate without one", "", authenticate(false), credential, consumer)

	// What reaches the service after each call that changes the request.
	for _, s := range []struct {
		name   string
		head   string
		fields map[string]any
	}{
		{"a string", "", map[string]any{"X-Set": "1"}},
		{"a list of one", "", map[string]any{"X-Set": []any{"1"}}},
		{"a list of two", "", map[string]any{"X-Set": []any{"1", "2"}}},
		{"replaces", "X-Set: a\r\nx-set: b\r\n", map[string]any{"X-Set": "1"}},
		{"an empty list removes", "X-Set: a\r\nX-Set: b\r\n", map[string]any{"X-Set": []any{}}},
		{"an empty list of what isn't there", "", map[string]any{"X-Set": []any{}}},
		{"an empty string", "", map[string]any{"X-Set": ""}},
		{"underscores are another name", "X_Set: a\r\nX-Set: b\r\n", map[string]any{"X-Set": "1"}},
		{"removes underscores", "X_Set: a\r\nX-Set: b\r\n", map[string]any{"X_Set": []any{}}},
		{"removes in another case", "X-SET: a\r\n", map[string]any{"x-set": []any{}}},
		{"named in Connection", "Connection: X-Set\r\n", map[string]any{"X-Set": "1"}},
		{"named in Connection, which is replaced", "Connection: X-Set\r\n", map[string]any{"X-Set": "1", "Connection": "keep-alive"}},
		{"named in Connection, which is removed", "Connection: X-Set\r\n", map[string]any{"X-Set": "1", "Connection": []any{}}},
		{"named in Connection in another case", "Connection: x-sET , close\r\nX-Other: 1\r\n", map[string]any{"X-Set": "1"}},
		{"named in Connection with an underscore", "Connection: X_Set\r\n", map[string]any{"X-Set": "1"}},
		{"named in the second of two Connections", "Connection: X-Other\r\nConnection: X-Set\r\nX-Other: 1\r\n", map[string]any{"X-Set": "1"}},
		{"named in one of two Connections, both removed", "Connection: X-Other\r\nConnection: X-Set\r\nX-Other: 1\r\n", map[string]any{"X-Set": "1", "Connection": []any{}}},
	} {
		get("set_headers: "+s.name, s.head, call("kong.service.request.set_headers", fields(s.fields)))
	}
	forget := call("kong.nginx.set_ctx", &pb.KV{K: "cached_request_headers"})
	replaced := call("kong.service.request.set_headers", fields(map[string]any{"X-Set": "1", "Connection": "X-Other"}))
	get("Connection is replaced, and the headers that Kong has kept are forgotten", "Connection: X-Set, X-Other\r\nX-Other: 1\r\n", replaced, forget)
	add(Case{Name: "the same for an upgrade", Request: request("GET", "/r/ws", "Connection: Upgrade, X-Set\r\nUpgrade: websocket\r\n", "")}, call("kong.service.request.set_headers", fields(map[string]any{"X-Set": "1", "Connection": "Upgrade"})), forget)
	get("hop-by-hop headers", "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: 5\r\nProxy-Connection: a\r\nTE: trailers\r\nTrailer: X-T\r\nProxy-Authenticate: a\r\nProxy-Authorization: b\r\n")
	get("clear_header", "X-Set: a\r\n", call("kong.service.request.clear_header", &pb.String{V: "X-Set"}))
	for _, q := range []string{"", "a=1", "a=%20+%zz&b", "a=caf%C3%A9", "a=b c", "a=caf\xe9", "?a", "a=\x01\t\r\n\x7f#\"<>%"} {
		add(Case{Name: fmt.Sprintf("set_raw_query: %+q", q), Request: request("GET", "/r/x?old=1", "", "")}, rawText("kong.service.request.set_raw_query", q), call("kong.request.get_raw_query", nil))
	}
	for _, b := range []struct{ name, body string }{{"shorter", "b"}, {"empty", ""}, {"longer", strings.Repeat("y", 20000)}, {"not UTF-8", "\xff\xfe"}} {
		add(Case{Name: "set_raw_body: " + b.name, Request: request("POST", "/r/x", "Content-Length: 3\r\nContent-Type: application/x-www-form-urlencoded\r\n", "a=1")}, rawBody, rawText("kong.service.request.set_raw_body", b.body))
	}
	get("authenticate sets no header", "", authenticate(true))
	get("authenticate without a credential sets no header", "", authenticate(false))
	get("ctx.shared", "", call("kong.ctx.shared.set", &pb.KV{K: "authenticated_groups", V: value([]any{"a", "b"})}), call("kong.ctx.shared.get", &pb.String{V: "authenticated_groups"}))
	get("ctx.shared: an empty list", "", call("kong.ctx.shared.set", &pb.KV{K: "authenticated_groups", V: value([]any{})}), call("kong.ctx.shared.get", &pb.String{V: "authenticated_groups"}))
	get("ctx.shared: taken away", "", call("kong.ctx.shared.set", &pb.KV{K: "authenticated_groups", V: value([]any{"a"})}),
		call("kong.ctx.shared.set", &pb.KV{K: "authenticated_groups"}), call("kong.ctx.shared.get", &pb.String{V: "authenticated_groups"}))
	get("log and set_serialize_value", "", call("kong.log.err", list("a line")), call("kong.log.warn", list("a line")), call("kong.log.notice", list("a line")),
		call("kong.log.set_serialize_value", &pb.KV{K: "request.uri", V: value("/hidden")}), call("kong.log.set_serialize_value", &pb.KV{K: "request.querystring.a"}))
	add(Case{Name: "upgrade", Request: request("GET", "/r/ws", "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n", "")}, headers)
	add(Case{Name: "upgrade, and Connection names a header", Request: request("GET", "/r/ws", "Connection: Upgrade, X-Set\r\nUpgrade: websocket\r\n", "")}, call("kong.service.request.set_headers", fields(map[string]any{"X-Set": "1"})))
	add(Case{Name: "upgrade, and Connection is replaced", Request: request("GET", "/r/ws", "Connection: Upgrade, X-Set\r\nUpgrade: websocket\r\n", "")}, call("kong.service.request.set_headers", fields(map[string]any{"X-Set": "1", "Connection": "Upgrade"})))
	add(Case{Name: "upgrade, and Connection is removed", Request: request("GET", "/r/ws", "Connection: Upgrade, X-Set\r\nUpgrade: websocket\r\n", "")}, call("kong.service.request.set_headers", fields(map[string]any{"X-Set": "1", "Connection": []any{}})))

	// Answers by the plugin.
	for _, m := range []string{"GET", "HEAD", "POST"} {
		add(exit("exit: "+m, Case{Request: request(m, "/r/x", "", "")}, 401, `{"message":"no"}`, map[string]any{"Content-Type": "application/json; charset=utf-8", "WWW-Authenticate": "VaultAuth"}))
	}
	add(exit("exit: without a body", Case{Request: request("GET", "/r/x", "", "")}, 401, "", nil))
	add(exit("exit: without Content-Type", Case{Request: request("GET", "/r/x", "", "")}, 503, "plain", map[string]any{"Retry-After": "3"}))
	add(exit("exit: several values", Case{Request: request("GET", "/r/x", "", "")}, 401, "", map[string]any{"X-Several": []any{"a", "b"}}))
	add(exit("exit: with a body not read", Case{Request: request("POST", "/r/x", "Content-Length: 3\r\n", "abc")}, 401, "no", nil))
	add(exit("exit: HTTP/2", Case{HTTP2: &http2Request{Method: "GET", Path: "/r/x"}}, 401, `{"message":"no"}`, map[string]any{"Content-Type": "application/json; charset=utf-8", "WWW-Authenticate": "VaultAuth"}))
	grpc := func(path string) Case {
		return Case{HTTP2: &http2Request{Method: "POST", Path: path, Header: []string{"content-type", "application/grpc", "te", "trailers"}, Body: "\x00\x00\x00\x00\x00"}}
	}
	add(exit("exit: gRPC without Content-Type", grpc("/pkg.Service/Call"), 401, "Unauthorized", map[string]any{"WWW-Authenticate": "VaultAuth"}))
	add(exit("exit: gRPC with a JSON Content-Type", grpc("/pkg.Service/Call"), 401, `{"message":"no"}`, map[string]any{"Content-Type": "application/json; charset=utf-8"}))
	for _, status := range []int32{429, 500, 503} {
		add(exit(fmt.Sprintf("exit: gRPC %d", status), grpc("/pkg.Service/Call"), status, "words", nil))
	}

	// HTTP/2 and gRPC as they pass.
	add(Case{Name: "HTTP/2", HTTP2: &http2Request{Method: "GET", Path: "/r/x?a=1", Header: []string{"x-one", "1"}}}, headers, call("kong.request.get_raw_query", nil))
	add(Case{Name: "HTTP/2 with a body", HTTP2: &http2Request{Method: "POST", Path: "/r/x", Header: []string{"content-type", "application/json"}, Body: `{"a":1}`}}, headers, rawBody)
	add(Case{Name: "HTTP/2 with a body of unknown length", HTTP2: &http2Request{Method: "POST", Path: "/r/x", Header: []string{"content-type", "application/json"}, Body: `{"a":1}`, NoLength: true}}, headers, rawBody)
	c := grpc("/pkg.Service/Call")
	c.Name = "gRPC"
	add(c, headers, call("kong.service.request.set_headers", fields(map[string]any{"X-Set": "1"})))

	// What a plugin does wrong.
	get("unknown method", "", Call{Method: "kong.plugin.explode"})
	get("an argument that can't be decoded", "", Call{Method: "kong.client.load_consumer", Arg: []byte{0xff}})
	add(Case{Name: "another sequence in the return", Request: request("GET", "/r/x", "", ""), script: script{end: wrongReturn}})
	return all
}

func request(method, target, head, body string) string {
	return method + " " + target + " HTTP/1.1\r\nHost: $HOST\r\n" + head + "\r\n" + body
}

func many(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "X-N: %d\r\n", i)
	}
	return b.String()
}

func exit(name string, c Case, status int32, body string, headers map[string]any) Case {
	c.Name = name
	c.script = script{[]Call{call("kong.response.exit", &pb.ExitArgs{Status: status, Body: []byte(body), Headers: fields(headers)})}, exitResponse}
	return c
}

func authenticate(withCredential bool) Call {
	args := &pb.AuthenticateArgs{Consumer: alice}
	if withCredential {
		args.Credential = &pb.AuthenticatedCredential{Id: "99999999-9999-5999-8999-999999999999", ConsumerId: alice.Id}
	}
	return call("kong.client.authenticate", args)
}

// call panics on a message that can't be encoded: the table is wrong then.
func call(method string, arg proto.Message) Call {
	if arg == nil {
		return Call{Method: method}
	}
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(arg)
	if err != nil {
		panic(fmt.Sprintf("%s: %v", method, err))
	}
	return Call{method, b}
}

// rawText is a call with a String or ByteString of any bytes, which Go's
// encoder would refuse.
func rawText(method, text string) Call {
	if text == "" {
		return Call{Method: method}
	}
	b, err := proto.Marshal(&pb.ByteString{V: []byte(text)})
	if err != nil {
		panic(err)
	}
	return Call{method, b}
}

func fields(m map[string]any) *structpb.Struct {
	s, err := structpb.NewStruct(m)
	if err != nil {
		panic(err)
	}
	return s
}

func value(v any) *structpb.Value {
	s, err := structpb.NewValue(v)
	if err != nil {
		panic(err)
	}
	return s
}

func list(v ...any) *structpb.ListValue {
	l, err := structpb.NewList(v)
	if err != nil {
		panic(err)
	}
	return l
}
