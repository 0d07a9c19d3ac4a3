package pluginserver

import (
	"strings"

	"github.com/Kong/go-pdk/server/kong_plugin_protocol"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// withoutResult holds the PDK functions that return nothing: Kong answers them
// with an empty frame. They are those whose result is google.protobuf.Empty in
// go-pdk's description of Kong's service, and kong.response.exit is not one of
// them in practice, since it never returns.
var withoutResult = methodsWithoutResult()

func methodsWithoutResult() map[string]bool {
	set := map[string]bool{}
	services := kong_plugin_protocol.File_server_kong_plugin_protocol_pluginsocket_proto.Services()
	for i := range services.Len() {
		service := services.Get(i)
		for j := range service.Methods().Len() {
			m := service.Methods().Get(j)
			if m.Output().FullName() == "google.protobuf.Empty" {
				set[pdkName(service, m)] = true
			}
		}
	}
	delete(set, methodExit)
	return set
}

// pdkName makes a PDK function's name of a method's as Kong does when it loads
// the same description: Kong.Client_GetIp is kong.client.get_ip.
func pdkName(service protoreflect.ServiceDescriptor, m protoreflect.MethodDescriptor) string {
	switch m.Name() { // these two carry their names in an option
	case "Ctx_SetShared":
		return "kong.ctx.shared.set"
	case "Ctx_GetShared":
		return "kong.ctx.shared.get"
	}
	var b strings.Builder
	var previous rune
	for _, c := range string(service.Name()) + "." + strings.ReplaceAll(string(m.Name()), "_", ".") {
		if c >= 'A' && c <= 'Z' && previous != 0 && previous != '.' && (previous < 'A' || previous > 'Z') {
			b.WriteByte('_')
		}
		b.WriteRune(c)
		previous = c
	}
	return strings.ToLower(b.String())
}

// The PDK functions that this package itself calls.
const (
	methodExit      = "kong.response.exit"
	methodGetVar    = "kong.nginx.get_var"
	methodGetHeader = "kong.request.get_header"
)
