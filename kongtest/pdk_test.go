package kongtest

import (
	"errors"
	"strings"
	"testing"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

// ask makes one PDK call and decodes the reply into Lua values.
func ask(x *Exchange, name string, arg proto.Message) (any, error) {
	var b []byte
	if arg != nil {
		b, _ = proto.Marshal(arg)
	}
	reply, err := x.call(name, b)
	if err != nil {
		return nil, err
	}
	m := methods()[name]
	if len(reply) == 0 {
		return nil, nil
	}
	d, err := decodeMessage(m.Output, reply)
	if err != nil {
		return nil, err
	}
	switch m.Output.Name() {
	case "Struct":
		return luaStruct(d), nil
	case "Value":
		v := new(structpb.Value) // as a Go plugin sees it
		err := proto.Unmarshal(reply, v)
		return v.AsInterface(), err
	case "Bool", "Number", "Int", "String", "ByteString":
		return d["v"], nil
	}
	return d, nil
}

func TestMethodsAreNamedAsKongNamesThem(t *testing.T) {
	for _, name := range []string{
		"kong.client.get_forwarded_ip", "kong.ctx.shared.set", "kong.nginx.get_tls1_version_str",
		"kong.service.request.set_raw_query", "kong.log.set_serialize_value", "kong.node.get_id",
	} {
		if _, ok := methods()[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
	for name := range pdk {
		if _, ok := methods()[name]; !ok {
			t.Errorf("%s can't be called by a plugin server", name)
		}
	}
}

func TestPDKCallsThatRead(t *testing.T) {
	req := &Request{
		URI: "/a%2fb//c/../%41?x=1&x=2&flag&e=&caf%E9=%FF",
		Header: []Header{
			{"Host", "Example.com:8080"}, {"X-One", "caf\xe9"}, {"x-two", "a"}, {"X-Two", "b"}, {"access_token", "t"},
			{"X-Forwarded-Proto", "https"}, {"Empty", ""},
		},
		Vars:      map[string]string{"kong_request_id": "rid"},
		Consumers: ConsumerList{anna},
		Route:     &Route{ID: "r1", Protocols: []string{"http", "https"}, StripPath: true, ServiceID: "s1"},
		Service:   &Service{ID: "s1", Host: "up", Port: 80, Protocol: "http"},
	}
	str := func(s string) proto.Message { return &pb.String{V: s} }
	num := func(n int32) proto.Message { return &pb.Int{V: n} }
	tests := []struct {
		name string
		arg  proto.Message
		want any
	}{
		{"kong.request.get_host", nil, "example.com"},
		{"kong.request.get_path", nil, "/a%2Fb/A"},
		{"kong.request.get_path_with_query", nil, req.URI},
		{"kong.request.get_raw_query", nil, "x=1&x=2&flag&e=&caf%E9=%FF"},
		{"kong.request.get_query", num(100), map[string]any{"x": []any{"1", "2"}, "flag": true, "e": "", "caf\xe9": "\xff"}},
		{"kong.request.get_query", num(2), map[string]any{"x": []any{"1", "2"}}},
		{"kong.request.get_query_arg", str("x"), "1"},
		{"kong.request.get_query_arg", str("none"), nil},
		{"kong.request.get_header", str("ACCESS-TOKEN"), "t"},
		{"kong.request.get_header", str("x_one"), "caf\xe9"},
		{"kong.request.get_header", str("X-Two"), "a"},
		{"kong.request.get_header", str("none"), nil},
		{"kong.request.get_headers", num(3), map[string]any{"host": "Example.com:8080", "x-one": "caf\xe9", "x-two": "a"}},
		{"kong.request.get_headers", num(4), map[string]any{"host": "Example.com:8080", "x-one": "caf\xe9", "x-two": []any{"a", "b"}}},
		{"kong.request.get_http_version", nil, 1.1},
		{"kong.request.get_forwarded_scheme", nil, "http"},
		{"kong.request.get_raw_body", nil, map[string]any{"content": ""}},
		{"kong.client.get_ip", nil, "127.0.0.1"},
		{"kong.client.get_port", nil, 40000.0},
		{"kong.client.get_credential", nil, nil},
		{"kong.client.get_protocol", &pb.Bool{V: true}, "http"},
		{"kong.client.load_consumer", &pb.ConsumerSpec{Id: "anna"}, nil}, // raised
		{"kong.client.load_consumer", &pb.ConsumerSpec{Id: "nobody", ByUsername: true}, nil},
		{"kong.client.load_consumer", &pb.ConsumerSpec{Id: "anna", ByUsername: true}, map[string]any{
			"id": anna.ID, "created_at": 1700000000.0, "username": "anna", "custom_id": "", "tags": []any{"a", "b"},
		}},
		{"kong.nginx.get_var", str("kong_request_id"), "rid"},
		{"kong.nginx.get_var", str("http_x_two"), "a, b"},
		{"kong.nginx.get_var", str("nonsense"), nil},
		{"kong.nginx.get_subsystem", nil, "http"},
		{"kong.ctx.shared.get", str("none"), nil},
		{"kong.ip.is_trusted", str("127.0.0.1"), nil}, // false isn't encoded
	}
	x := NewExchange(req)
	for _, test := range tests {
		got, err := ask(x, test.name, test.arg)
		var luaErr *LuaError
		if err != nil && !(errors.As(err, &luaErr) && test.want == nil) {
			t.Errorf("%s: %v", test.name, err)
		}
		if got == "" {
			got = nil // of a String, nothing and "" look alike
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s(%v): %s", test.name, test.arg, diff)
		}
	}
}

func TestPDKCallsThatRaise(t *testing.T) {
	tests := []struct {
		name string
		arg  proto.Message
		want string
	}{
		{"kong.request.get_headers", &pb.Int{V: 0}, "max_headers must be >= 1"},
		{"kong.request.get_headers", &pb.Int{V: 1001}, "max_headers must be <= 1000"},
		{"kong.request.get_query_arg", &pb.String{V: "flag"}, "string expected for field 'v', got boolean"},
		{"kong.client.load_consumer", &pb.ConsumerSpec{Id: "anna"}, "cannot load a consumer with an id that is not a uuid"},
		{"kong.client.authenticate", &pb.AuthenticateArgs{}, "either credential or consumer must be provided"},
		{"kong.service.request.set_scheme", &pb.String{V: "ftp"}, "invalid scheme: ftp"},
		{"kong.service.request.set_method", &pb.String{V: "get"}, "invalid method: get"},
		{"kong.service.request.set_path", &pb.String{V: "a"}, "path must start with /"},
		{"kong.service.request.set_header", &pb.KV{K: "X"}, `invalid header value for "X": got nil`},
		{"kong.service.request.set_headers", &structpb.Struct{Fields: map[string]*structpb.Value{
			"X": structpb.NewListValue(&structpb.ListValue{Values: []*structpb.Value{structpb.NewNumberValue(1)}}),
		}}, `invalid header value in array "X": got number`},
		{"kong.response.exit", &pb.ExitArgs{Status: 99}, "code must be a number between 100 and 599"},
		{"kong.response.get_status", nil, "cannot be called in access phase"},
		{"kong.service.response.get_status", nil, "cannot be called in access phase"},
	}
	for _, test := range tests {
		x := NewExchange(&Request{URI: "/?flag"})
		_, err := ask(x, test.name, test.arg)
		var luaErr *LuaError
		if !errors.As(err, &luaErr) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", test.name, err, test.want)
		}
	}
}

func TestSettingUpstreamHeaders(t *testing.T) {
	list := func(values ...string) *structpb.Value {
		l := &structpb.ListValue{}
		for _, v := range values {
			l.Values = append(l.Values, structpb.NewStringValue(v))
		}
		return structpb.NewListValue(l)
	}
	tests := []struct {
		name string
		arg  proto.Message
		want []Header
	}{
		{"kong.service.request.set_header", &pb.KV{K: "A_b", V: structpb.NewStringValue("1")}, []Header{{"a-B", "x"}, {"a_B", "1"}, {"A-b", "z"}}},
		{"kong.service.request.set_header", &pb.KV{K: "a-b", V: structpb.NewStringValue("1")}, []Header{{"a-B", "1"}, {"a_B", "y"}}},
		{"kong.service.request.set_header", &pb.KV{K: "new", V: structpb.NewStringValue("")}, []Header{{"a-B", "x"}, {"a_B", "y"}, {"A-b", "z"}, {"new", " "}}},
		{"kong.service.request.set_header", &pb.KV{K: "new", V: structpb.NewBoolValue(true)}, []Header{{"a-B", "x"}, {"a_B", "y"}, {"A-b", "z"}, {"new", "true"}}},
		{"kong.service.request.add_header", &pb.KV{K: "a-b", V: structpb.NewNumberValue(7)}, []Header{{"a-B", "x"}, {"a_B", "y"}, {"A-b", "z"}, {"a-b", "7"}}},
		{"kong.service.request.clear_header", &pb.String{V: "A-B"}, []Header{{"a_B", "y"}}},
		{"kong.service.request.set_headers", &structpb.Struct{Fields: map[string]*structpb.Value{"a-b": structpb.NewStringValue("1")}}, []Header{{"a-B", "1"}, {"a_B", "y"}}},
		{"kong.service.request.set_headers", &structpb.Struct{Fields: map[string]*structpb.Value{"a-b": list()}}, []Header{{"a_B", "y"}}},
		{"kong.service.request.set_headers", &structpb.Struct{Fields: map[string]*structpb.Value{"a-b": list("1", "2")}}, []Header{{"a_B", "y"}, {"a-b", "1"}, {"a-b", "2"}}},
	}
	for _, test := range tests {
		x := NewExchange(&Request{Header: []Header{{"a-B", "x"}, {"a_B", "y"}, {"A-b", "z"}}})
		if _, err := ask(x, test.name, test.arg); err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
		if diff := cmp.Diff(test.want, x.Upstream.Header); diff != "" {
			t.Errorf("%s(%v): %s", test.name, test.arg, diff)
		}
	}
}

func TestValuesKeepTheirBytesAndLoseTheirFalsehood(t *testing.T) {
	x := NewExchange(&Request{})
	set := func(v *structpb.Value) any {
		if _, err := ask(x, "kong.ctx.shared.set", &pb.KV{K: "k", V: v}); err != nil {
			t.Fatal(err)
		}
		got, err := ask(x, "kong.ctx.shared.get", &pb.String{V: "k"})
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	if got := set(structpb.NewBoolValue(false)); got != nil {
		t.Errorf("false came back as %v", got)
	}
	if got := set(structpb.NewNumberValue(1.5)); got != 1.5 {
		t.Errorf("1.5 came back as %v", got)
	}
	// set_raw_query of bytes that Go's marshaller would refuse
	raw := protowire.AppendString(protowire.AppendTag(nil, 1, protowire.BytesType), "a=\xff")
	if _, err := x.call("kong.service.request.set_raw_query", raw); err != nil || x.Upstream.RawQuery != "a=\xff" {
		t.Errorf("query %q, %v", x.Upstream.RawQuery, err)
	}
}

func TestSetQueryIsOrderedAndEscaped(t *testing.T) {
	x := NewExchange(&Request{})
	arg, _ := structpb.NewStruct(map[string]any{"foo": "hello world", "bar": []any{"baz", "bla", true}, "zzz": true, "blo": ""})
	if _, err := ask(x, "kong.service.request.set_query", arg); err != nil {
		t.Fatal(err)
	}
	if want := "bar=baz&bar=bla&bar&blo=&foo=hello%20world&zzz"; x.Upstream.RawQuery != want {
		t.Errorf("%q, want %q", x.Upstream.RawQuery, want)
	}
}

func TestWhatPluginsSeeOfAnEarlierAuthentication(t *testing.T) {
	x := NewExchange(&Request{Consumer: &anna, Credential: &Credential{More: map[string]any{"key": "k"}}})
	tests := []struct {
		method string
		arg    proto.Message
		want   any
	}{
		{"kong.client.get_credential", nil, nil}, // a credential without id looks like none
		{"kong.nginx.get_ctx", &pb.String{V: "authenticated_credential"}, map[string]any{"key": "k"}},
		{"kong.nginx.get_ctx", &pb.String{V: "authenticated_groups"}, nil},
	}
	for _, test := range tests {
		got, err := ask(x, test.method, test.arg)
		if diff := cmp.Diff(test.want, got); diff != "" || err != nil {
			t.Error(test.method, err, diff)
		}
	}
	got, err := ask(x, "kong.client.get_consumer", nil)
	if err != nil || got.(map[string]any)["id"] != anna.ID {
		t.Error(got, err)
	}
}

func TestAnonymousLeavesNoCredential(t *testing.T) {
	x := NewExchange(&Request{Credential: &Credential{ID: "c"}})
	if _, err := ask(x, "kong.client.authenticate", &pb.AuthenticateArgs{Consumer: &pb.Consumer{Id: anna.ID}}); err != nil {
		t.Fatal(err)
	}
	if got, _ := ask(x, "kong.client.get_credential", nil); got != nil {
		t.Errorf("credential %v", got)
	}
	if o := x.Outcome(); o.Credential != nil || o.Consumer == nil || o.Consumer.ID != anna.ID {
		t.Errorf("outcome %+v", o)
	}
}

// A plugin may send anything as the argument of a call; it raises or works.
func FuzzPDKCall(f *testing.F) {
	for name := range methods() {
		f.Add(name, []byte("\x0a\x03abc"))
	}
	f.Add("kong.log.err", []byte{0x0a, 0x03, 0x1a, 0x01, 0xff})
	f.Fuzz(func(t *testing.T, name string, arg []byte) {
		x := NewExchange(&Request{Header: []Header{{"a", "\xff"}}, URI: "/?a&b=%ff"})
		reply, err := x.call(name, arg)
		if err != nil {
			return
		}
		if _, err := decodeMessage(methods()[name].Output, reply); err != nil {
			t.Errorf("%s(%q) replied %q: %v", name, arg, reply, err)
		}
		x.Outcome()
	})
}
