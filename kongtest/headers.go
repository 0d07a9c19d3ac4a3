package kongtest

import (
	"strings"

	"kong-vault-auth/kongtest/internal/lua"
	"kong-vault-auth/kongtest/internal/nginx"
)

// headerTable is ngx.req.get_headers(limit): lower-case names, an array for a
// repeated one, and silently nothing beyond the first limit lines.
func headerTable(lines []Header, limit int) map[string]any {
	t := make(map[string]any, min(limit, len(lines)))
	for _, h := range lines[:min(limit, len(lines))] {
		nginx.AddValue(t, strings.ToLower(h.Name), h.Value)
	}
	return t
}

// header is kong.request.get_header: the first value, with "-" and "_" alike.
// A value with a comma in it makes Kong look among the first 100 lines only.
func (x *Exchange) header(name string) any {
	v, ok := x.headerVar(strings.ReplaceAll(name, "-", "_")).(string)
	if !ok {
		return nil
	}
	if !strings.Contains(v, ", ") {
		return v
	}
	name = strings.ToLower(name)
	t := headerTable(x.Upstream.Header, 100)
	found := t[name]
	if found == nil {
		found = t[strings.ReplaceAll(name, "_", "-")]
	}
	if list, ok := found.([]any); ok {
		return list[0]
	}
	return found
}

// headerVar is nginx's $http_name: all lines that spell the name, joined.
func (x *Exchange) headerVar(name string) any {
	var found []string
	for _, h := range x.Upstream.Header {
		if strings.EqualFold(strings.ReplaceAll(h.Name, "-", "_"), name) {
			found = append(found, h.Value)
		}
	}
	if found == nil {
		return nil
	}
	return strings.Join(found, ", ")
}

// cachedHeaders is the key of ngx.ctx under which Kong's own code keeps the
// request's headers from the router on. It lacks what plugins change later, unless
// they remove the key.
const cachedHeaders = "cached_request_headers"

// headerCache is what Kong keeps there: as many lines as lua_max_req_headers
// allows.
func (x *Exchange) headerCache() map[string]any { return headerTable(x.Upstream.Header, 100) }

// setHeader is ngx.req.set_header: the values replace every line of that very
// name: "_" and "-" differ, case doesn't matter.
func setHeader(lines []Header, name string, values ...string) []Header {
	out := make([]Header, 0, len(lines)+len(values))
	replaced := false
	for _, h := range lines {
		if !strings.EqualFold(h.Name, name) {
			out = append(out, h)
		} else if len(values) == 1 && !replaced {
			out, replaced = append(out, Header{h.Name, values[0]}), true
		}
	}
	if replaced {
		return out
	}
	for _, v := range values {
		out = append(out, Header{name, v})
	}
	return out
}

// headerValues checks a header's value as the PDK does, and turns the empty
// string into the single space that Kong sends.
func headerValues(name string, v any) ([]string, error) {
	list, ok := v.([]any)
	if t, isTable := v.(map[string]any); isTable && len(t) == 0 {
		ok = true
	}
	if !ok {
		if t := lua.Type(v); t == "nil" || t == "table" {
			return nil, raise("invalid header value for %q: got %s, expected array of string, string, number or boolean", name, t)
		}
		list = []any{v}
	}
	out := make([]string, 0, len(list))
	for _, e := range list {
		if _, isString := e.(string); ok && !isString {
			return nil, raise("invalid header value in array %q: got %s, expected string", name, lua.Type(e))
		}
		s := lua.ToString(e)
		if s == "" {
			s = " "
		}
		out = append(out, s)
	}
	return out, nil
}
