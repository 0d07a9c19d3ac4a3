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

// plain says whether the name is spelled as Kong spells it. To nginx any other
// spelling is another header, which an upstream's framework may read as the
// same.
func (s shownHeader) plain() bool { return !strings.Contains(s.name, "_") }

// identity is what the identity headers say of a caller. An empty value is no
// header.
type identity [len(identityNames)]string

// identityOf is what names a consumer.
func identityOf(c *pluginserver.Consumer) identity {
	return identity{consumerID: c.ID, consumerUsername: c.Username, consumerCustomID: c.CustomID}
}

// identify tells Kong and the upstream who is calling. None of it has a
// result, so all of it goes out together with the end of the event. Without a
// credential Kong knows that the consumer is the anonymous one.
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

// setGroups tells Kong's ACL plugin which groups the caller is in. Those of another
// credential, with which a plugin before this one may have authenticated the request,
// must not stay: only then there are headers, or a consumer, that say so.
func (h *handler) setGroups(e *pluginserver.Event, r *request, groups []string) {
	switch {
	case groups != nil:
		e.SetShared(groupsKey, groups)
	case len(r.identity) > 0, r.earlier != nil && r.earlier.consumer != nil:
		e.ClearShared(groupsKey)
		e.ClearCtx(groupsKey)
	}
}

// send tells Kong what the upstream is to get: the identity headers in set, and
// else what the client has sent, without the tokens and without identity headers
// that aren't in keep.
func (h *handler) send(e *pluginserver.Event, r *request, set identity, keep identitySet) {
	changes := h.appendIdentity(make([]pluginserver.HeaderChange, 0, 16), r, set, keep)
	if connection, rewritten := withoutIdentity(r.connection); rewritten {
		changes = append(changes, pluginserver.HeaderChange{Name: "Connection", Value: connection})
		// After the plugins Kong takes away what Connection names, and reads
		// that from the headers it has kept since the request came in
		// (kong/tools/http.lua, get_header). Without these it looks again.
		e.ClearCtx("cached_request_headers")
	}
	e.SetHeaders(changes)
	h.hide(e, r)
}

// appendIdentity sets the identity headers in set, and removes every other one
// that isn't in keep, every other spelling, and the tokens: as far as the request
// has them, since each name costs Kong time.
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

// withoutIdentity takes identity headers out of a Connection header, and says
// whether there were any.
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
