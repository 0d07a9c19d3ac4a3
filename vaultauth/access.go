package vaultauth

import (
	"context"

	"kong-vault-auth/blocklist"
	"kong-vault-auth/credential"
	"kong-vault-auth/pluginserver"
	"kong-vault-auth/vault"
)

// lookuper is a vault object as the access phase uses it.
type lookuper interface {
	Usable() error
	Lookup(ctx context.Context, accessToken, secretToken string, client vault.Client) (*credential.Credential, error)
}

// handler is one instance of the plugin: one configuration.
type handler struct {
	config    Config
	workspace string
	object    lookuper
	release   func()
	consumers *consumers
	blocked   *blocklist.List
	answers   answers
}

// Close gives the vault object back.
func (h *handler) Close() { h.release() }

// Access authenticates one request.
func (h *handler) Access(e *pluginserver.Event) pluginserver.Verdict {
	r, err := h.ask(e)
	if err != nil {
		return h.answers.verdict(err)
	}
	switch {
	case r.cut:
		return h.refuse(e, r, errTooManyHeaders)
	case r.preflight:
		return h.letThrough(e, r, answerPreflight)
	case r.authenticated:
		return h.letThrough(e, r, answerOtherPlugin)
	}
	who, err := h.authenticate(e, r)
	if err != nil {
		who, err = h.instead(e, err)
	}
	if err == nil {
		err = h.prepareHiding(e, r)
	}
	if err != nil {
		return h.refuse(e, r, err)
	}
	h.identify(e, r, who)
	if who.refused != "" {
		return pluginserver.PassAs(answerAnonymous).Because(who.refused)
	}
	return pluginserver.Pass()
}

// letThrough is the verdict on a request that isn't this plugin's to judge.
func (h *handler) letThrough(e *pluginserver.Event, r *request, answer string) pluginserver.Verdict {
	if err := h.passOn(e, r); err != nil {
		return h.refuse(e, r, err)
	}
	return pluginserver.PassAs(answer)
}

// refuse is the verdict on a request that doesn't go on.
func (h *handler) refuse(e *pluginserver.Event, r *request, err error) pluginserver.Verdict {
	h.hideRefused(e, r)
	return h.answers.verdict(err).WithCalls()
}

// caller is who a request is proxied as.
type caller struct {
	consumer   *pluginserver.Consumer
	credential string   // the credential's id; empty for the anonymous consumer
	groups     []string // of the credential; nil: the consumer's own
	refused    string   // why it is the anonymous consumer
}

// authenticate finds out who is calling. answers.verdict lists its errors.
func (h *handler) authenticate(e *pluginserver.Event, r *request) (caller, error) {
	if err := h.object.Usable(); err != nil {
		return caller{}, err
	}
	pair, err := h.tokens(e, r)
	if err != nil {
		return caller{}, err
	}
	c, err := h.object.Lookup(e.Context(), pair.access, pair.secret, r)
	if err != nil {
		return caller{}, err
	}
	consumer, err := h.consumers.find(e, reference{h.workspace, c.Consumer.ID, c.Consumer.Username})
	if err != nil {
		return caller{}, err
	}
	if h.blocked.Consumer(consumer.ID, consumer.Username) {
		h.answers.log.Warn("a credential of a blocked consumer was presented, and is refused", "reason", string(vault.ReasonBlocked), "consumer", consumer.ID)
		return caller{}, refuse(string(vault.ReasonBlocked), unauthorized)
	}
	return caller{consumer: consumer, credential: c.ID, groups: c.Groups()}, nil
}

// instead returns the anonymous consumer, if there is one and authentication has failed. It
// doesn't stand in for an outage, a limit or a fault.
func (h *handler) instead(e *pluginserver.Event, err error) (caller, error) {
	refused, ok := asRefusal(err)
	if !ok || h.config.Anonymous == "" {
		return caller{}, err
	}
	h.answers.tell(refused)
	consumer, err := h.consumers.find(e, reference{workspace: h.workspace, username: h.config.Anonymous})
	if err != nil {
		return caller{}, &anonymousError{err}
	}
	return caller{consumer: consumer, refused: refused.reason}, nil
}
