package vaultauth

import (
	"strings"

	"kong-vault-auth/pluginserver"
	"kong-vault-auth/tokens"
)

// prepareHiding asks Kong for what hide needs.
func (h *handler) prepareHiding(e *pluginserver.Event, r *request) error {
	if err := h.stripQuery(e, r); err != nil {
		return err
	}
	if h.config.HideCredentials {
		return h.readBody(e, r)
	}
	return nil
}

// hide removes the tokens from the query string and the body for the upstream, with
// hide_credentials, and in any case from what log plugins see. Tokens in headers are
// removed together with the identity headers.
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

// hideRefused keeps the tokens of a refused request from log plugins, by removing them from
// the request. It asks for the query string if need be: a client may put tokens where they
// aren't searched for.
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

// strippedQuery is what others may see of a query string that held tokens.
type strippedQuery struct {
	query  string
	logged map[string]string // for log plugins, by the key of kong.log.serialize
}

// stripQuery removes the tokens from the query string, and from the URLs that log plugins
// would show as the client sent them.
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

// unlogQuery makes log plugins see the query string without the tokens.
func (h *handler) unlogQuery(e *pluginserver.Event, s *strippedQuery) {
	for key, value := range s.logged {
		e.SetSerializeValue(key, value)
	}
	for _, name := range h.tokenNames() {
		e.ClearSerializeValue("request.querystring." + name)
	}
}
