package vaultsecrets

import (
	"kong-vault-auth/pluginserver"
	"kong-vault-auth/secretstore"
)

// foreseen are the answers that are counted from the start, beside pluginserver.AnswerOK:
// proxied with its secrets. The reasons of a store's failures are the stores' to name.
var foreseen = unavailable(string(secretstore.ReasonNotFound), string(secretstore.ReasonDeleted), string(secretstore.ReasonDisabled),
	string(secretstore.ReasonOutside), string(secretstore.ReasonDenied),
	reasonForbidden, reasonConfig, reasonLimit, reasonTimeout, reasonUnusable)

func unavailable(reasons ...string) (all []pluginserver.Answered) {
	for _, reason := range reasons {
		all = append(all, pluginserver.Answered{Answer: "503", Reason: reason})
	}
	return all
}

// Stats returns what was counted so far. It is safe for concurrent use.
func (p *Plugin) Stats() []pluginserver.Answered { return p.Answers.All() }
