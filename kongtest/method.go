package kongtest

import (
	"regexp"
	"strings"
	"sync"

	pb "github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// Method is a PDK method as a plugin server may call it.
type Method struct {
	Name   string // kong.client.load_consumer
	Input  protoreflect.MessageDescriptor
	Output protoreflect.MessageDescriptor
}

// methods returns the methods that Kong offers to plugin servers, by name, as
// Kong derives them from its service description.
var methods = sync.OnceValue(func() map[string]Method {
	word := regexp.MustCompile(`([a-z]\d*)([A-Z])`)
	all := map[string]Method{}
	services := pb.File_server_kong_plugin_protocol_pluginsocket_proto.Services()
	for i := range services.Len() {
		service := services.Get(i)
		for j := range service.Methods().Len() {
			m := service.Methods().Get(j)
			name := string(service.Name()) + "." + strings.ReplaceAll(string(m.Name()), "_", ".")
			name = strings.ToLower(word.ReplaceAllString(name, "${1}_${2}"))
			if o, ok := m.Options().(*descriptorpb.MethodOptions); ok && proto.HasExtension(o, pb.E_MethodName) {
				name = proto.GetExtension(o, pb.E_MethodName).(string)
			}
			all[name] = Method{name, m.Input(), m.Output()}
		}
	}
	return all
})

// unwrap decodes a call's argument frame into the arguments of the Lua
// function.
func (m Method) unwrap(b []byte) ([]any, error) {
	d, err := decodeMessage(m.Input, b)
	if err != nil {
		return nil, err
	}
	switch m.Input.Name() {
	case "Empty":
		return nil, nil
	case "Value":
		return []any{luaValue(d)}, nil
	case "ListValue":
		return luaList(d), nil
	case "Struct":
		return []any{luaStruct(d)}, nil
	case "Bool", "Number", "Int", "String", "ByteString":
		return []any{d["v"]}, nil
	case "KV":
		return []any{d["k"], luaValue(d["v"])}, nil
	case "Target":
		return []any{d["host"], d["port"]}, nil
	case "ExitArgs":
		var headers any
		if h, ok := d["headers"].(map[string]any); ok {
			headers = luaStruct(h)
		}
		return []any{d["status"], d["body"], headers}, nil
	case "ConsumerSpec":
		return []any{d["id"], d["by_username"]}, nil
	case "AuthenticateArgs":
		return []any{d["consumer"], d["credential"]}, nil
	}
	return []any{d}, nil
}

// wrap encodes what the Lua function returned into the reply frame.
func (m Method) wrap(v any) ([]byte, error) {
	var table map[string]any
	switch m.Output.Name() {
	case "Value":
		table = pbValue(v)
	case "Struct":
		t, _ := v.(map[string]any)
		table = pbStruct(t)
	case "Bool", "Number", "Int", "String", "ByteString":
		table = map[string]any{"v": v}
	default:
		if v == nil {
			return nil, nil
		}
		table, _ = v.(map[string]any)
	}
	return encodeMessage(m.Output, table)
}
