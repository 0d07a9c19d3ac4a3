package vaultauth

import (
	"kong-vault-auth/pluginserver"
	"kong-vault-auth/tokens"
)

// The headers in which an upstream reads who is calling (kong/constants.lua).
const (
	headerConsumerID       = "X-Consumer-ID"
	headerConsumerUsername = "X-Consumer-Username"
	headerConsumerCustomID = "X-Consumer-Custom-ID"
	headerCredential       = "X-Credential-Identifier"
	headerAnonymous        = "X-Anonymous-Consumer"
)

func isIdentityHeader(name string) bool {
	for _, h := range [...]string{headerConsumerID, headerConsumerUsername, headerConsumerCustomID, headerCredential, headerAnonymous} {
		if tokens.SameHeader(name, h) {
			return true
		}
	}
	return false
}

// identify tells Kong and the upstream who is calling. None of it has a
// result, so all of it goes out together with the end of the event.
func (h *handler) identify(e *pluginserver.Event, r *request, who caller) {
	e.Tell("kong.client.authenticate", who.authenticateArg())
	e.Tell("kong.service.request.set_headers", h.headersArg(r, who))
	if h.config.HideCredentials {
		h.hide(e, r)
	}
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

// headersArg sets the identity headers, removes those that don't apply with
// all their other spellings, since a client may have forged them, and takes
// the tokens out.
func (h *handler) headersArg(r *request, who caller) []byte {
	buf := make([]byte, 0, len(who.consumer.headers)+256)
	buf = append(buf, who.consumer.headers...)
	if who.credential != "" {
		buf = pluginserver.AppendField(buf, headerCredential, who.credential)
		buf = pluginserver.AppendField(buf, headerAnonymous)
	} else {
		buf = pluginserver.AppendField(buf, headerCredential)
		buf = pluginserver.AppendField(buf, headerAnonymous, "true")
	}
	for _, name := range r.forged {
		buf = pluginserver.AppendField(buf, name)
	}
	if h.config.HideCredentials {
		for _, name := range r.hide {
			buf = pluginserver.AppendField(buf, name)
		}
	}
	return buf
}
