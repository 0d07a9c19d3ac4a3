package vaultauth

import (
	"os"

	"kong-vault-auth/pluginserver"
	"kong-vault-auth/tokens"
)

// pair is the access token and the secret token that a client sent.
type pair struct{ access, secret string }

// tokens searches each token by itself: in the headers, the query string, the
// body. What is found in one place isn't looked for in the next.
func (h *handler) tokens(e *pluginserver.Event, r *request) (pair, error) {
	access, secret := r.access, r.secret
	if h.config.TokensInQuery {
		fill(&access, tokens.FindQuery(r.query, h.config.AccessTokenName))
		fill(&secret, tokens.FindQuery(r.query, h.config.SecretTokenName))
	}
	if access.Count == 0 || secret.Count == 0 {
		if err := h.readBody(e, r); err != nil {
			return pair{}, err
		}
		if r.body != nil {
			fill(&access, r.body.Find(h.config.AccessTokenName))
			fill(&secret, r.body.Find(h.config.SecretTokenName))
		}
	}
	switch {
	case access.Count > 1:
		return pair{}, refuse(duplicateAccessToken, "Duplicate access token found")
	case secret.Count > 1:
		return pair{}, refuse(duplicateSecretToken, "Duplicate secret token found")
	case access.Count == 0:
		return pair{}, refuse(noAccessToken, "No access token found in request")
	case secret.Count == 0:
		return pair{}, refuse(noSecretToken, "No secret token found in request")
	}
	return pair{access.Value, secret.Value}, nil
}

// fill sets a token unless an earlier place held one.
func fill(into *tokens.Found, found tokens.Found) {
	if into.Count == 0 {
		*into = found
	}
}

// readBody asks, once, for the body if it may be searched and is of a type that can hold
// tokens. A body that can't be searched counts as one without tokens.
func (h *handler) readBody(e *pluginserver.Event, r *request) error {
	if r.bodyRead || !h.config.TokensInBody || pluginserver.IsGRPC(r.contentType.Value) || r.upgrade {
		return nil
	}
	r.bodyRead = true
	format, err := tokens.FormatOf(r.contentType.Value, r.contentEncoding)
	if err != nil || r.contentType.Count > 1 || r.contentLength > int64(h.config.MaxBodyBytes) {
		return nil
	}
	raw, err := e.GetRawBody().Wait()
	if err != nil {
		return err
	}
	content := h.bodyContent(raw)
	if content == nil {
		return nil
	}
	if body, err := format.Parse(content, h.config.MaxBodyBytes); err == nil {
		r.body, r.bodySize = body, len(content)
	}
	return nil
}

// bodyContent returns the bytes of a body, nil if there are none or too many. If nginx has
// put the body into a file, it is read from there, if this process can.
func (h *handler) bodyContent(raw pluginserver.RawBody) []byte {
	if raw.Content != nil || raw.File == "" {
		return raw.Content
	}
	if info, err := os.Stat(raw.File); err != nil || info.Size() > int64(h.config.MaxBodyBytes) {
		return nil
	}
	content, err := os.ReadFile(raw.File)
	if err != nil {
		return nil
	}
	return content
}
