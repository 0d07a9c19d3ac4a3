package vaultauth

import (
	"slices"
	"strings"

	"kong-vault-auth/pluginserver"
)

// earlier is what plugins before this one have told Kong about who is calling,
// in Kong's own messages.
type earlier struct{ consumer, credential []byte }

func askEarlier(e *pluginserver.Event) {
	e.Ask("kong.client.get_consumer", nil)
	e.Ask("kong.client.get_credential", nil)
}

func answerEarlier(e *pluginserver.Event) (*earlier, error) {
	consumer, err := e.Answer()
	if err != nil {
		return nil, err
	}
	credential, err := e.Answer()
	if err != nil {
		return nil, err
	}
	return &earlier{consumer, credential}, nil
}

// authenticated says whether another plugin has authenticated the request. A
// credential without an id looks to us like none, so a consumer is enough,
// unless it is marked as an anonymous one.
func (before *earlier) authenticated(r *request) bool {
	anonymous := slices.ContainsFunc(r.identity, func(s shownHeader) bool { return s.header == anonymousConsumer && s.plain() })
	return len(before.credential) > 0 || len(before.consumer) > 0 && !anonymous
}

// passOn lets a request go on that this plugin has nothing to say about, without
// the identity headers that the client made up, and without the tokens.
func (h *handler) passOn(e *pluginserver.Event, r *request) error {
	keep, err := h.setByOthers(e, r)
	if err != nil {
		return err
	}
	if err := h.prepareHiding(e, r); err != nil {
		return err
	}
	h.send(e, r, nil, keep)
	return nil
}

// setByOthers returns the identity headers that a plugin before this one has
// set. Their values say what Kong knows of the caller by itself; a client could
// only repeat them.
func (h *handler) setByOthers(e *pluginserver.Event, r *request) (identitySet, error) {
	if !slices.ContainsFunc(r.identity, shownHeader.plain) {
		return 0, nil
	}
	if r.earlier == nil {
		askEarlier(e)
		var err error
		if r.earlier, err = answerEarlier(e); err != nil {
			return 0, err
		}
	}
	var theirs, forged identitySet
	for _, s := range r.identity {
		switch {
		case !s.plain():
			continue
		case theirs.has(s.header) || forged.has(s.header): // a plugin sets one value
			forged = forged.with(s.header)
			continue
		}
		set, err := r.earlier.vouchesFor(e, s)
		if err != nil {
			return 0, err
		}
		if set {
			theirs = theirs.with(s.header)
		} else {
			forged = forged.with(s.header)
		}
	}
	return theirs &^ forged, nil
}

// vouchesFor says whether a header's value is what Kong knows of the caller.
func (before *earlier) vouchesFor(e *pluginserver.Event, s shownHeader) (bool, error) {
	switch s.header {
	case consumerID, consumerUsername, consumerCustomID:
		value, err := pluginserver.Part(before.consumer, consumerParts[s.header])
		return len(value) > 0 && string(value) == s.value, err
	case credentialIdentifier:
		id, err := pluginserver.Text(before.credential)
		if err != nil || len(id) > 0 && string(id) == s.value {
			return err == nil, err
		}
		// Not the id: some plugins take its key, username or client id.
		fields, err := contextStrings(e, "authenticated_credential")
		return slices.Contains(fields, s.value), err
	case anonymousConsumer:
		return len(before.consumer) > 0 && len(before.credential) == 0 && s.value == "true", nil
	case authenticatedGroups: // the session plugin's
		groups, err := contextStrings(e, "authenticated_groups")
		return len(groups) > 0 && strings.Join(groups, ", ") == s.value, err
	}
	return false, nil // X-Consumer-Groups is set only later, by the ACL plugin
}

// contextStrings asks for the strings that Kong has in a field of ngx.ctx.
func contextStrings(e *pluginserver.Event, field string) ([]string, error) {
	e.Ask("kong.nginx.get_ctx", pluginserver.AppendText(nil, field))
	reply, err := e.Answer()
	if err != nil {
		return nil, err
	}
	return pluginserver.Strings(reply)
}
