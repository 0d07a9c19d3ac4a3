package vaultauth

import (
	"kong-vault-auth/pluginserver"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/vault"
)

// Stats is what the plugin counts.
type Stats struct {
	Requests     []pluginserver.Answered
	Consumers    int // remembered now, also as gone
	MaxConsumers int // how many are remembered at most
}

// Stats returns what was counted so far. It is safe for concurrent use.
func (p *Plugin) Stats() Stats {
	return Stats{Requests: p.Answers.All(), Consumers: p.consumers.known.EstimatedSize(), MaxConsumers: maxConsumers}
}

// The answers to requests that are let through, beside pluginserver.AnswerOK: proxied as
// the credential's consumer.
const (
	answerAnonymous   = "anonymous"    // proxied as config.anonymous
	answerPreflight   = "preflight"    // an OPTIONS request
	answerOtherPlugin = "other_plugin" // another plugin had authenticated it
)

// The reasons beside those of refusals, of a store's failures and of the server's faults.
const (
	reasonLimit     = "limit"     // too many access tokens that are not in the store
	reasonGuessing  = "guessing"  // too many wrong secret tokens for one credential
	reasonDatabase  = "database"  // Kong's
	reasonAnonymous = "anonymous" // config.anonymous names a consumer that can't be used
)

// foreseen are the answers that are counted from the start. The reasons of a store's
// failures are the stores' to name.
func foreseen() []pluginserver.Answered {
	all := []pluginserver.Answered{
		{Answer: answerPreflight}, {Answer: answerOtherPlugin}, {Answer: "431"},
		{Answer: "429", Reason: reasonLimit}, {Answer: "429", Reason: reasonGuessing},
		{Answer: "500", Reason: reasonAnonymous},
		{Answer: "503", Reason: reasonDatabase},
	}
	for _, reason := range []string{
		noAccessToken, noSecretToken, duplicateAccessToken, duplicateSecretToken, consumerIsGone,
		string(vault.ReasonMalformed), string(vault.ReasonBlocked), string(vault.ReasonWrongSecret), string(vault.ReasonExpired),
		string(vault.ReasonEarly), string(vault.ReasonAddress),
		string(secretstore.ReasonNotFound), string(secretstore.ReasonDeleted), string(secretstore.ReasonDisabled),
		string(secretstore.ReasonOutside), string(secretstore.ReasonUnusable), string(secretstore.ReasonDenied),
	} {
		all = append(all, pluginserver.Answered{Answer: "401", Reason: reason}, pluginserver.Answered{Answer: answerAnonymous, Reason: reason})
	}
	return all
}
