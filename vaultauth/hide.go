package vaultauth

import (
	"strings"

	"kong-vault-auth/pluginserver"
	"kong-vault-auth/tokens"
)

// prepareHiding puts the questions whose answers hide needs.
func (h *handler) prepareHiding(e *pluginserver.Event, r *request) error {
	if err := h.stripQuery(e, r); err != nil {
		return err
	}
	if h.config.HideCredentials {
		return h.readBody(e, r)
	}
	return nil
}

// hide takes the tokens out of what comes after this plugin: out of the query
// string and the body for the upstream, if that is wanted, and in any case out
// of what log plugins see. Those in headers go with the identity headers.
func (h *handler) hide(e *pluginserver.Event, r *request) {
	if !h.config.HideCredentials {
		for _, name := range r.hide {
			e.ClearSerializeValue("request.headers." + name)
		}
	}
	if r.stripped != nil {
		if h.config.HideCredentials {
			e.SetRawQuery(r.stripped.query)
		}
		h.unlogQuery(e, r.stripped)
	}
	if h.config.HideCredentials && r.body != nil {
		if after := r.body.Strip(h.tokenNames()...); len(after) < r.bodySize {
			e.SetRawBody(after)
		}
	}
}

// hideRefused takes the tokens of a request that is refused out of what log
// plugins see, by taking them out of the request. The query string is asked for
// if it wasn't yet: a client may put tokens where they aren't looked for.
func (h *handler) hideRefused(e *pluginserver.Event, r *request) {
	e.SetHeaders(removeAll(nil, r.hide))
	if !h.config.TokensInQuery {
		query, err := e.GetRawQuery().Wait()
		if err != nil {
			return
		}
		r.query = query
	}
	if r.stripped == nil && h.stripQuery(e, r) != nil {
		return
	}
	if r.stripped != nil {
		e.SetRawQuery(r.stripped.query)
		h.unlogQuery(e, r.stripped)
	}
}

func (h *handler) tokenNames() []string {
	return []string{h.config.AccessTokenName, h.config.SecretTokenName}
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
	if r.query == "" {
		return nil
	}
	query := tokens.StripQuery(r.query, h.tokenNames()...)
	if len(query) == len(r.query) {
		return nil
	}
	vars := []string{"request_uri", "scheme", "host", "server_port"}
	if !h.config.HideCredentials {
		vars = append(vars, "upstream_uri") // without the query string, which Kong adds when the plugins have run
	}
	replies := make([]pluginserver.Reply[string], len(vars))
	for i, name := range vars {
		replies[i] = e.GetVar(name)
	}
	for i, reply := range replies {
		var err error
		if vars[i], err = reply.Wait(); err != nil {
			return err
		}
	}
	uri, _, _ := strings.Cut(vars[0], "?")
	uri = withQuery(uri, query)
	logged := map[string]string{
		"request.uri": uri,
		"request.url": vars[1] + "://" + vars[2] + ":" + vars[3] + uri,
	}
	if !h.config.HideCredentials {
		logged["upstream_uri"] = withQuery(vars[4], query)
	}
	r.stripped = &strippedQuery{query, logged}
	return nil
}

func withQuery(path, query string) string {
	if query == "" {
		return path
	}
	return path + "?" + query
}

// unlogQuery has log plugins see the query string without the tokens.
func (h *handler) unlogQuery(e *pluginserver.Event, s *strippedQuery) {
	for key, value := range s.logged {
		e.SetSerializeValue(key, value)
	}
	for _, name := range h.tokenNames() {
		e.ClearSerializeValue("request.querystring." + name)
	}
}
