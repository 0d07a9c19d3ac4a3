package vaultauth

import (
	"bytes"
	"strings"

	"kong-vault-auth/pluginserver"
	"kong-vault-auth/tokens"
)

// identityHeader is one of the headers in which an upstream reads who is
// calling.
type identityHeader uint8

// The identity headers. Groups are Kong's ACL plugin's to set; on a route
// without it a client's own would arrive.
const (
	consumerID identityHeader = iota
	consumerUsername
	consumerCustomID
	credentialIdentifier
	anonymousConsumer
	authenticatedGroups
	consumerGroups
)

// identityNames are their names (kong/constants.lua).
var identityNames = [...]string{
	consumerID:           "X-Consumer-ID",
	consumerUsername:     "X-Consumer-Username",
	consumerCustomID:     "X-Consumer-Custom-ID",
	credentialIdentifier: "X-Credential-Identifier",
	anonymousConsumer:    "X-Anonymous-Consumer",
	authenticatedGroups:  "X-Authenticated-Groups",
	consumerGroups:       "X-Consumer-Groups",
}

// asIdentityHeader recognises an identity header in any spelling.
func asIdentityHeader(name []byte) (identityHeader, bool) {
	if len(name) == 0 || name[0]|0x20 != 'x' {
		return 0, false
	}
	for i, known := range identityNames {
		if tokens.SameHeader(string(name), known) {
			return identityHeader(i), true
		}
	}
	return 0, false
}

// identitySet is a set of identity headers.
type identitySet uint8

func (s identitySet) has(h identityHeader) bool         { return s&(1<<h) != 0 }
func (s identitySet) with(h identityHeader) identitySet { return s | 1<<h }

// shownHeader is a value of an identity header that the request has, be it the
// client's or that of a plugin before this one.
type shownHeader struct {
	header identityHeader
	name   string // as sent, in lower case
	value  string
}

// plain reports whether the name is spelled as Kong spells it. To nginx any other
// spelling is another header, which an upstream's framework may read as the
// same.
func (s shownHeader) plain() bool { return !strings.Contains(s.name, "_") }

// identity holds the values of the identity headers for a caller. A header with an empty
// value is not sent.
type identity [len(identityNames)]string

// identityOf returns the identity of a consumer.
func identityOf(c *pluginserver.Consumer) identity {
	return identity{consumerID: c.ID, consumerUsername: c.Username, consumerCustomID: c.CustomID}
}

// identify tells Kong and the upstream who is calling. None of these calls has a result, so
// all of them go out together with the end of the event. A consumer without a credential
// is the anonymous one, to Kong.
func (h *handler) identify(e *pluginserver.Event, r *request, who caller) {
	headers := identityOf(who.consumer)
	if who.credential != "" {
		headers[credentialIdentifier] = who.credential
		e.Authenticate(who.consumer, &pluginserver.Credential{ID: who.credential, ConsumerID: who.consumer.ID})
	} else {
		headers[anonymousConsumer] = "true"
		e.Authenticate(who.consumer, nil)
	}
	h.setGroups(e, r, who.groups)
	h.send(e, r, headers, 0)
}

// groupsKey is where Kong's ACL plugin looks for the groups of a caller: first in
// kong.ctx.shared, then in ngx.ctx.
const groupsKey = "authenticated_groups"

// setGroups tells Kong's ACL plugin which groups the caller is in. If a plugin before this
// one has authenticated the request, its groups must not stay. The request then has
// identity headers, or a consumer.
func (h *handler) setGroups(e *pluginserver.Event, r *request, groups []string) {
	switch {
	case groups != nil:
		e.SetShared(groupsKey, groups)
	case len(r.identity) > 0, r.earlier != nil && r.earlier.consumer != nil:
		e.ClearShared(groupsKey)
		e.ClearCtx(groupsKey)
	}
}

// send tells Kong what to send to the upstream: the identity headers in set, and the
// client's own headers without the tokens and without identity headers that aren't in keep.
func (h *handler) send(e *pluginserver.Event, r *request, set identity, keep identitySet) {
	changes := h.appendIdentity(make([]pluginserver.HeaderChange, 0, 16), r, set, keep)
	if connection, rewritten := withoutIdentity(r.connection); rewritten {
		changes = append(changes, pluginserver.HeaderChange{Name: "Connection", Value: connection})
		// After the plugins Kong removes the headers that Connection names. It reads
		// Connection from a copy that it has kept since the request came in
		// (kong/tools/http.lua, get_header). Without the copy it reads the new one.
		e.ClearCtx("cached_request_headers")
	}
	e.SetHeaders(changes)
	h.hide(e, r)
}

// appendIdentity sets the identity headers in set, and removes all others that aren't in
// keep, all other spellings, and the tokens. It names only headers that the request has,
// since each name costs Kong time.
func (h *handler) appendIdentity(changes []pluginserver.HeaderChange, r *request, set identity, keep identitySet) []pluginserver.HeaderChange {
	for i, value := range set {
		if value != "" {
			changes = append(changes, pluginserver.HeaderChange{Name: identityNames[i], Value: value})
			keep = keep.with(identityHeader(i)) // the client's is replaced
		}
	}
	for _, s := range r.identity {
		if !s.plain() || !keep.has(s.header) {
			changes = append(changes, pluginserver.HeaderChange{Name: s.name})
		}
	}
	if h.config.HideCredentials {
		changes = removeAll(changes, r.hide)
	}
	return changes
}

func removeAll(changes []pluginserver.HeaderChange, names []string) []pluginserver.HeaderChange {
	for _, name := range names {
		changes = append(changes, pluginserver.HeaderChange{Name: name})
	}
	return changes
}

// withoutIdentity removes identity headers from the value of Connection, and reports whether
// it named any.
func withoutIdentity(connection []byte) (rest string, changed bool) {
	for option := range bytes.SplitSeq(connection, []byte(",")) {
		_, named := asIdentityHeader(bytes.TrimSpace(option))
		changed = changed || named
	}
	if !changed {
		return "", false
	}
	var kept []string
	for option := range bytes.SplitSeq(connection, []byte(",")) {
		option = bytes.TrimSpace(option)
		if _, named := asIdentityHeader(option); !named && len(option) > 0 {
			kept = append(kept, string(option))
		}
	}
	return strings.Join(kept, ", "), true
}
