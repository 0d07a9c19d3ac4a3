package vaultauth

import (
	"slices"
	"strings"

	"kong-vault-auth/pluginserver"
)

// earlier is what plugins before this one have told Kong about the caller. A nil field
// means that they have said nothing.
type earlier struct {
	consumer   *pluginserver.Consumer
	credential *pluginserver.Credential
}

// earlierReplies are the pending replies for an earlier.
type earlierReplies struct {
	consumer   pluginserver.Reply[*pluginserver.Consumer]
	credential pluginserver.Reply[*pluginserver.Credential]
}

func askEarlier(e *pluginserver.Event) earlierReplies {
	return earlierReplies{e.GetConsumer(), e.GetCredential()}
}

func (asked earlierReplies) wait() (*earlier, error) {
	consumer, err := asked.consumer.Wait()
	if err != nil {
		return nil, err
	}
	credential, err := asked.credential.Wait()
	if err != nil {
		return nil, err
	}
	return &earlier{consumer, credential}, nil
}

// authenticated reports whether another plugin has authenticated the request. A credential
// without an id can't be told from none here, so a consumer is enough, unless it is
// marked as an anonymous one.
func (before *earlier) authenticated(r *request) bool {
	anonymous := slices.ContainsFunc(r.identity, func(s shownHeader) bool { return s.header == anonymousConsumer && s.plain() })
	return before.credential != nil || before.consumer != nil && !anonymous
}

// passOn lets a request go on without this plugin's judgement, and without the tokens and
// identity headers that the client made up.
func (h *handler) passOn(e *pluginserver.Event, r *request) error {
	keep, err := h.setByOthers(e, r)
	if err != nil {
		return err
	}
	if err := h.prepareHiding(e, r); err != nil {
		return err
	}
	h.send(e, r, identity{}, keep)
	return nil
}

// setByOthers returns the identity headers that a plugin before this one has set: those
// whose values agree with what Kong knows about the caller. A client that sends the same
// values gains nothing.
func (h *handler) setByOthers(e *pluginserver.Event, r *request) (identitySet, error) {
	if !slices.ContainsFunc(r.identity, shownHeader.plain) {
		return 0, nil
	}
	if r.earlier == nil {
		var err error
		if r.earlier, err = askEarlier(e).wait(); err != nil {
			return 0, err
		}
	}
	var theirs, forged identitySet
	for _, s := range r.identity {
		switch {
		case !s.plain():
			continue
		case theirs.has(s.header) || forged.has(s.header): // a second value: a plugin sets only one
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

// vouchesFor reports whether a header's value agrees with what Kong knows about the caller.
func (before *earlier) vouchesFor(e *pluginserver.Event, s shownHeader) (bool, error) {
	switch s.header {
	case consumerID, consumerUsername, consumerCustomID:
		return before.consumer != nil && s.value != "" && s.value == identityOf(before.consumer)[s.header], nil
	case credentialIdentifier:
		if before.credential != nil && s.value != "" && s.value == before.credential.ID {
			return true, nil
		}
		// Some plugins put the credential's key, username or client id into the header.
		fields, err := e.GetCtx("authenticated_credential").Wait()
		return slices.Contains(fields, s.value), err
	case anonymousConsumer:
		return before.consumer != nil && before.credential == nil && s.value == "true", nil
	case authenticatedGroups: // the session plugin's
		groups, err := e.GetCtx(groupsKey).Wait()
		return len(groups) > 0 && strings.Join(groups, ", ") == s.value, err
	}
	return false, nil // X-Consumer-Groups is set only later, by the ACL plugin
}
