package vaultsecrets

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"kong-vault-auth/cache"
	"kong-vault-auth/pluginserver"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/vault"
)

// handler is one instance of the plugin: one configuration.
type handler struct {
	headers []setting
	query   []setting
	remove  []pluginserver.HeaderChange // the headers' other spellings
	names   []string                    // of the query arguments
	logged  []string                    // what log plugins must not see

	log *slog.Logger
}

// setting is a header, or an argument of the query string.
type setting struct {
	name  string
	value func(context.Context) (string, error)
}

func newHandler(c *Config, get getFunc) (*handler, error) {
	h := &handler{}
	if c.Authorization != nil {
		value, err := c.Authorization.value(get)
		if err != nil {
			return nil, err
		}
		h.addHeader("authorization", value)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		t, err := parseReferring("config.headers."+name, c.Headers[name], get)
		if err != nil {
			return nil, err
		}
		h.addHeader(name, t.value)
	}
	for _, name := range slices.Sorted(maps.Keys(c.Query)) {
		t, err := parseReferring("config.query."+name, c.Query[name], get)
		if err != nil {
			return nil, err
		}
		h.query = append(h.query, setting{name, t.value})
		h.names = append(h.names, name)
		h.logged = append(h.logged, "request.querystring."+name)
	}
	return h, nil
}

func (h *handler) addHeader(name string, value func(context.Context) (string, error)) {
	h.headers = append(h.headers, setting{name, value})
	for _, spelling := range otherSpellings(name) {
		h.remove = append(h.remove, pluginserver.HeaderChange{Name: spelling})
	}
	if lower := strings.ToLower(name); lower != "authorization" && lower != "proxy-authorization" { // Kong hides those
		h.logged = append(h.logged, "request.headers."+lower)
	}
}

// parseReferring parses a template that must hold a reference: one without would be a
// secret in Kong's configuration, or a reference that is mistyped.
func parseReferring(field, value string, get getFunc) (template, error) {
	t, err := parseTemplate(value, get)
	if err == nil && !t.refers() {
		err = errors.New("it holds no reference such as {vault://azure/upstream-key/value}")
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", field, err)
	}
	return t, nil
}

// value makes the value of the header.
func (a *Authorization) value(get getFunc) (func(context.Context) (string, error), error) {
	var parts [3]template
	refers := false
	for i, text := range []string{a.Username, a.Password, a.Token} {
		var err error
		if parts[i], err = parseTemplate(text, get); err != nil {
			return nil, fmt.Errorf("config.authorization.%s: %w", []string{"username", "password", "token"}[i], err)
		}
		refers = refers || parts[i].refers()
	}
	if !refers {
		return nil, errors.New("config.authorization: it holds no reference such as {vault://azure/upstream-key/value}")
	}
	username, password, token := parts[0], parts[1], parts[2]
	if a.Type == "bearer" {
		return func(ctx context.Context) (string, error) {
			t, err := token.value(ctx)
			return "Bearer " + t, err
		}, nil
	}
	return func(ctx context.Context) (string, error) {
		u, err := username.value(ctx)
		if err != nil {
			return "", err
		}
		if strings.Contains(u, ":") {
			return "", errors.New("config.authorization.username: it has a colon, which ends the user name in Basic authentication")
		}
		p, err := password.value(ctx)
		return "Basic " + base64.StdEncoding.EncodeToString([]byte(u+":"+p)), err
	}, nil
}

// Close has nothing to give back.
func (*handler) Close() {}

// patience is how long a request waits for its secrets, less than an event may take.
const patience = 3 * time.Second

// Access puts the secrets into one request.
func (h *handler) Access(e *pluginserver.Event) pluginserver.Verdict {
	ctx, cancel := context.WithTimeout(e.Context(), patience)
	defer cancel()
	headers, err := values(ctx, h.headers)
	if err != nil {
		return h.unavailable(err)
	}
	query, err := values(ctx, h.query)
	if err != nil {
		return h.unavailable(err)
	}
	if len(query) > 0 {
		if err := h.setQuery(e, query); err != nil {
			return pluginserver.Fault() // Kong has gone
		}
	}
	e.SetHeaders(append(headers, h.remove...))
	for _, key := range h.logged {
		e.ClearSerializeValue(key)
	}
	return pluginserver.Pass()
}

// values are the settings with their secrets.
func values(ctx context.Context, settings []setting) ([]pluginserver.HeaderChange, error) {
	var changes []pluginserver.HeaderChange
	for _, s := range settings {
		value, err := s.value(ctx)
		if err != nil {
			return nil, err
		}
		changes = append(changes, pluginserver.HeaderChange{Name: s.name, Value: value})
	}
	return changes, nil
}

// retryAfter is when a client may try again: a secret that isn't there is looked for
// again soon.
const retryAfter = 5 * time.Second

// unavailable is the answer where a secret can't be had.
func (h *handler) unavailable(err error) pluginserver.Verdict {
	var of *referenceError
	name := ""
	if errors.As(err, &of) {
		name = of.reference // as "vault", so that each has a line of its own
	}
	reason := reasonOf(err)
	h.log.Error("a secret for the upstream can't be read, requests are answered 503", "vault", name, "reason", reason, "err", err)
	return pluginserver.Exit(http.StatusServiceUnavailable, "Service unavailable", pluginserver.RetryAfter(retryAfter)).Because(reason)
}

// The reasons beside the store's own.
const (
	reasonLimit     = "limit"     // too many lookups
	reasonForbidden = "forbidden" // this node doesn't hand the secret out
	reasonConfig    = "config"    // there is no such vault, or its settings can't be used
	reasonTimeout   = "timeout"   // the store takes too long
	reasonUnusable  = "unusable"  // what is in the store can't be sent
)

// reasonOf is a short word for why there is no secret.
func reasonOf(err error) string {
	var absent *secretstore.Absent
	var failure *secretstore.Failure
	var limit *cache.LimitError
	switch {
	case errors.As(err, &absent):
		return string(absent.Reason)
	case errors.As(err, &failure):
		return failure.Reason
	case errors.As(err, &limit):
		return reasonLimit
	case errors.Is(err, vault.ErrForbidden):
		return reasonForbidden
	case errors.Is(err, secretstore.ErrConfig):
		return reasonConfig
	case errors.Is(err, context.DeadlineExceeded):
		return reasonTimeout
	}
	return reasonUnusable
}

// maxSeparators bounds the spellings of a header's name, 2 to that power.
const maxSeparators = 5

// otherSpellings are the names that many upstreams (CGI, WSGI, Rack, PHP) take for the
// same header: each - may be _, and the other way round. Kong's nginx lets them through.
// To remove them all is cheaper than to ask Kong which ones there are.
func otherSpellings(name string) []string {
	spellings := []string{""}
	for _, c := range []byte(strings.ToLower(name)) {
		var longer []string
		for _, s := range spellings {
			if c == '-' || c == '_' {
				longer = append(longer, s+"-", s+"_")
			} else {
				longer = append(longer, s+string(c))
			}
		}
		spellings = longer
	}
	return slices.DeleteFunc(spellings, func(s string) bool { return s == strings.ToLower(name) })
}
