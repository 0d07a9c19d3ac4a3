package vaultauth

import (
	"strings"

	"kong-vault-auth/pluginserver"
	"kong-vault-auth/tokens"
)

// hide takes the tokens out of the query string and the body; those in headers
// go with the identity headers.
func (h *handler) hide(e *pluginserver.Event, r *request) {
	names := []string{h.config.AccessTokenName, h.config.SecretTokenName}
	if r.stripped != nil {
		e.Tell("kong.service.request.set_raw_query", pluginserver.AppendText(nil, r.stripped.query))
		for key, value := range r.stripped.logged {
			e.Tell("kong.log.set_serialize_value", serializeArg(key, value))
		}
		// No value takes the argument out of the table.
		for _, name := range names {
			e.Tell("kong.log.set_serialize_value", pluginserver.AppendText(nil, "request.querystring."+name))
		}
	}
	if r.body != nil {
		if after := r.body.Strip(names...); len(after) < r.bodySize {
			e.Tell("kong.service.request.set_raw_body", pluginserver.AppendText(nil, after))
		}
	}
}

// strippedQuery is what is to be seen of a request whose query string held
// tokens.
type strippedQuery struct {
	query  string
	logged map[string]string // for log plugins, by the key of kong.log.serialize
}

// stripQuery takes the tokens out of the query string, and asks Kong for what
// log plugins would show of it: they see the URL as the client sent it.
func (h *handler) stripQuery(e *pluginserver.Event, r *request) error {
	if !h.config.HideCredentials || r.query == "" {
		return nil
	}
	query := tokens.StripQuery(r.query, h.config.AccessTokenName, h.config.SecretTokenName)
	if len(query) == len(r.query) {
		return nil
	}
	vars := []string{"request_uri", "scheme", "host", "server_port"}
	for _, name := range vars {
		e.Ask("kong.nginx.get_var", pluginserver.AppendText(nil, name))
	}
	for i := range vars {
		value, err := answerText(e)
		if err != nil {
			return err
		}
		vars[i] = string(value)
	}
	uri, _, _ := strings.Cut(vars[0], "?")
	if query != "" {
		uri += "?" + query
	}
	r.stripped = &strippedQuery{query, map[string]string{
		"request.uri": uri,
		"request.url": vars[1] + "://" + vars[2] + ":" + vars[3] + uri,
	}}
	return nil
}

// serializeArg is a KV with a string for a value.
func serializeArg(key, text string) []byte {
	buf := pluginserver.AppendText(nil, key)
	return pluginserver.AppendPart(buf, 2, pluginserver.AppendPart(nil, 3, text))
}
