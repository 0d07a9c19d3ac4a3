package vaultauth

import (
	"bytes"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

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

// consumerParts are the fields of Kong's Consumer message that identity headers
// carry.
var consumerParts = [...]protowire.Number{consumerID: 1, consumerUsername: 3, consumerCustomID: 4}

// consumerHeaders are the headers that name a consumer, for set_headers. A field
// that the consumer doesn't have isn't among them: Kong would send a space.
func consumerHeaders(entity []byte) (headers []byte, set identitySet, err error) {
	for header, part := range consumerParts {
		value, err := pluginserver.Part(entity, part)
		if err != nil {
			return nil, 0, err
		}
		if len(value) > 0 {
			headers = pluginserver.AppendField(headers, identityNames[header], string(value))
			set = set.with(identityHeader(header))
		}
	}
	return headers, set, nil
}

// identify tells Kong and the upstream who is calling. None of it has a
// result, so all of it goes out together with the end of the event.
func (h *handler) identify(e *pluginserver.Event, r *request, who caller) {
	e.Tell("kong.client.authenticate", who.authenticateArg())
	buf := make([]byte, 0, len(who.consumer.headers)+256)
	buf = append(buf, who.consumer.headers...)
	set := who.consumer.named
	if who.credential != "" {
		buf = pluginserver.AppendField(buf, identityNames[credentialIdentifier], who.credential)
		set = set.with(credentialIdentifier)
	} else {
		buf = pluginserver.AppendField(buf, identityNames[anonymousConsumer], "true")
		set = set.with(anonymousConsumer)
	}
	h.send(e, r, buf, set)
}

// authenticateArg is an AuthenticateArgs: the consumer as Kong gave it, and
// the credential. Without a credential Kong knows that the consumer is the
// anonymous one.
func (who caller) authenticateArg() []byte {
	buf := make([]byte, 0, len(who.consumer.entity)+96)
	buf = pluginserver.AppendPart(buf, 1, who.consumer.entity)
	if who.credential == "" {
		return buf
	}
	credential := make([]byte, 0, 80)
	credential = pluginserver.AppendPart(credential, 1, who.credential)
	credential = pluginserver.AppendPart(credential, 2, who.consumer.id)
	return pluginserver.AppendPart(buf, 2, credential)
}

// send tells Kong what the upstream is to get: the headers in set, whose names
// are keep, and else what the client has sent, without tokens.
func (h *handler) send(e *pluginserver.Event, r *request, set []byte, keep identitySet) {
	connection, rewritten := withoutIdentity(r.connection)
	switch {
	case rewritten && connection == "":
		set = pluginserver.AppendField(set, "Connection")
	case rewritten:
		set = pluginserver.AppendField(set, "Connection", connection)
	}
	if rewritten {
		// After the plugins Kong takes away what Connection names, and reads
		// that from the headers it has kept since the request came in
		// (kong/tools/http.lua, get_header). Without these it looks again.
		e.Tell("kong.nginx.set_ctx", pluginserver.AppendText(nil, "cached_request_headers"))
	}
	if set = h.appendRemovals(set, r, keep); len(set) > 0 {
		e.Tell("kong.service.request.set_headers", set)
	}
	h.hide(e, r)
}

// appendRemovals removes every identity header that isn't in keep, every other
// spelling, and the tokens: as far as the request has them, since each name
// costs Kong time.
func (h *handler) appendRemovals(buf []byte, r *request, keep identitySet) []byte {
	for _, s := range r.identity {
		if !s.plain() || !keep.has(s.header) {
			buf = pluginserver.AppendField(buf, s.name)
		}
	}
	if h.config.HideCredentials {
		buf = removeAll(buf, r.hide)
	}
	return buf
}

func removeAll(buf []byte, names []string) []byte {
	for _, name := range names {
		buf = pluginserver.AppendField(buf, name)
	}
	return buf
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
