package vaultauth

import (
	"errors"
	"slices"
	"strconv"

	"kong-vault-auth/pluginserver"
	"kong-vault-auth/tokens"
)

// maxHeaders is how many header values kong.request.get_headers returns at most. If a
// request may have more, forged ones may be among those that weren't returned.
const maxHeaders = 1000

var errTooManyHeaders = errors.New("the request has more headers than Kong passes on")

// request is what Kong says about a request in its first answers.
type request struct {
	event *pluginserver.Event

	preflight     bool     // an OPTIONS request that is let through
	authenticated bool     // by another plugin, with anonymous set here
	earlier       *earlier // nil unless it was asked for
	cut           bool     // Kong may not have shown all headers

	access, secret  tokens.Found // in the headers
	hide            []string     // header names that hold tokens, as sent
	identity        []shownHeader
	connection      []byte // the values of Connection, joined
	contentType     tokens.Found
	contentEncoding string
	contentLength   int64
	upgrade         bool

	query    string
	stripped *strippedQuery // nil unless there is something to hide in the query string

	bodyRead bool
	body     *tokens.Body // nil unless it was searched
	bodySize int

	address *string // the client's; nil until it was asked for
}

// ask asks Kong for everything that is always needed, in one write, so that it costs one
// wait.
func (h *handler) ask(e *pluginserver.Event) (*request, error) {
	headers := e.GetHeaders(maxHeaders)
	var query, method pluginserver.Reply[string]
	var before earlierReplies
	if h.config.TokensInQuery {
		query = e.GetRawQuery()
	}
	if !h.config.RunOnPreflight {
		method = e.GetMethod()
	}
	if h.config.Anonymous != "" {
		before = askEarlier(e)
	}

	r := &request{event: e, hide: make([]string, 0, 2)}
	fields, err := headers.Wait()
	if err != nil {
		return nil, err
	}
	for _, f := range fields {
		h.readHeader(r, f)
	}
	r.cut = len(fields) >= maxHeaders
	if h.config.TokensInQuery {
		if r.query, err = query.Wait(); err != nil {
			return nil, err
		}
	}
	if !h.config.RunOnPreflight {
		name, err := method.Wait()
		if err != nil {
			return nil, err
		}
		r.preflight = name == "OPTIONS"
	}
	if h.config.Anonymous != "" {
		if r.earlier, err = before.wait(); err != nil {
			return nil, err
		}
		r.authenticated = r.earlier.authenticated(r)
	}
	return r, nil
}

// readHeader keeps what this plugin needs of a header.
func (h *handler) readHeader(r *request, f pluginserver.Field) {
	switch {
	case tokens.SameHeader(string(f.Name), h.config.AccessTokenName):
		r.access.Add(string(f.Value))
		r.hide = appendNew(r.hide, f.Name, h.config.AccessTokenName)
	case tokens.SameHeader(string(f.Name), h.config.SecretTokenName):
		r.secret.Add(string(f.Value))
		r.hide = appendNew(r.hide, f.Name, h.config.SecretTokenName)
	case string(f.Name) == "content-type":
		r.contentType.Add(string(f.Value))
	case string(f.Name) == "content-encoding":
		if r.contentEncoding != "" {
			r.contentEncoding += ", "
		}
		r.contentEncoding += string(f.Value)
	case string(f.Name) == "content-length":
		r.contentLength, _ = strconv.ParseInt(string(f.Value), 10, 64) // nginx has checked it
	case string(f.Name) == "connection":
		if r.connection == nil {
			r.connection = f.Value
		} else {
			r.connection = slices.Concat(r.connection, []byte(", "), f.Value)
		}
	case string(f.Name) == "upgrade":
		r.upgrade = true
	default:
		if header, ok := asIdentityHeader(f.Name); ok {
			r.identity = append(r.identity, shownHeader{header, string(f.Name), string(f.Value)})
		}
	}
}

// appendNew appends a name that isn't the last one: Kong gives a name's values
// together. usual is the spelling that it most likely has.
func appendNew(names []string, name []byte, usual string) []string {
	if n := len(names); n > 0 && names[n-1] == string(name) {
		return names
	}
	if string(name) == usual {
		return append(names, usual)
	}
	return append(names, string(name))
}

// Address is the client's address, from behind the proxies that Kong trusts
// (trusted_ips, real_ip_header). It is a call to Kong, so only lookups that
// memory can't answer make it: see vault.Client. An event that has ended has none.
func (r *request) Address() string {
	if r.address == nil {
		address, _ := r.event.GetForwardedIP().Wait()
		r.address = &address
	}
	return *r.address
}
