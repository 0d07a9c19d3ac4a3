package vaultauth

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"

	"kong-vault-auth/pluginserver"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/vault"
)

// refusal is failed authentication: the only error for which the anonymous consumer stands
// in.
type refusal struct {
	reason  string // for the log and for counting
	message string // for the client
}

func (r *refusal) Error() string { return r.message }

func refuse(reason, message string) error { return &refusal{reason, message} }

// The reasons of refusals beside those of a vault object.
const (
	noAccessToken        = "no_access_token"
	noSecretToken        = "no_secret_token"
	duplicateAccessToken = "duplicate_access_token"
	duplicateSecretToken = "duplicate_secret_token"
	consumerIsGone       = "consumer_gone"
)

// unauthorized is the message to a client whose pair isn't accepted, whatever is wrong
// with it.
const unauthorized = "Unauthorized"

// asRefusal returns err as a refusal, if it is failed authentication.
func asRefusal(err error) (*refusal, bool) {
	var r *refusal
	var refused *vault.RefusedError
	switch {
	case errors.As(err, &r):
		return r, true
	case errors.As(err, &refused):
		return &refusal{string(refused.Reason), unauthorized}, true
	case errors.Is(err, errConsumerGone) && !isAnonymous(err):
		return &refusal{consumerIsGone, unauthorized}, true
	}
	return nil, false
}

// anonymousError says that the consumer named by config.anonymous can't be used.
type anonymousError struct{ err error }

func (e *anonymousError) Error() string {
	return "config.anonymous names a consumer that can't be used: " + e.err.Error()
}

func (e *anonymousError) Unwrap() error { return e.err }

func isAnonymous(err error) bool {
	var a *anonymousError
	return errors.As(err, &a)
}

// answers turns the error that stopped a request into a verdict, and logs it.
type answers struct {
	realm string
	log   *slog.Logger
}

// verdict is the answers table: what the client gets, what goes to the
// operator's log, and the reason that is counted.
func (a *answers) verdict(err error) pluginserver.Verdict {
	var limit *vault.LimitError
	var guessing *vault.GuessingError
	var unavailable *vault.UnavailableError
	if r, ok := asRefusal(err); ok {
		a.tell(r)
		return pluginserver.Exit(http.StatusUnauthorized, r.message, pluginserver.Header{"WWW-Authenticate": a.challenge()}).Because(r.reason)
	}
	switch {
	case isAnonymous(err):
		return a.fault(reasonAnonymous, "the anonymous consumer could not be used", err)
	case errors.As(err, &limit):
		a.log.Warn("too many lookups of access tokens that are not in the store, requests are answered 429", "vault", limit.Object, "reason", reasonLimit)
		return pluginserver.Exit(http.StatusTooManyRequests, "Too many requests", pluginserver.RetryAfter(limit.RetryAfter)).Because(reasonLimit)
	case errors.As(err, &guessing):
		a.tell(&refusal{reasonGuessing, unauthorized}) // the vault object has logged for which credential
		return pluginserver.Exit(http.StatusTooManyRequests, "Too many requests", pluginserver.RetryAfter(guessing.RetryAfter)).Because(reasonGuessing)
	case errors.As(err, &unavailable):
		a.log.Error("the secret store can't answer, requests are answered 503", "vault", unavailable.Object, "reason", unavailable.Reason, "err", unavailable.Error())
		return pluginserver.Exit(http.StatusServiceUnavailable, "Service unavailable", pluginserver.RetryAfter(unavailable.RetryAfter)).Because(unavailable.Reason)
	case errors.Is(err, errDatabase):
		return pluginserver.Exit(http.StatusServiceUnavailable, "Service unavailable", pluginserver.RetryAfter(databaseDown)).Because(reasonDatabase)
	case errors.Is(err, errTooManyHeaders):
		return pluginserver.Exit(http.StatusRequestHeaderFieldsTooLarge, "Request header fields too large", nil)
	case errors.Is(err, secretstore.ErrConfig):
		return a.fault(pluginserver.ReasonConfig, couldNot, err)
	}
	return a.fault(pluginserver.ReasonUnexpected, couldNot, err)
}

const couldNot = "the request could not be authenticated"

// fault is the answer to what should never happen.
func (a *answers) fault(reason, message string, err error) pluginserver.Verdict {
	a.log.Error(message+", it is answered 500", "reason", err.Error())
	return pluginserver.Fault().Because(reason)
}

// tell logs a refusal by its reason. Tokens that a client has forgotten are logged at debug
// level only.
func (a *answers) tell(r *refusal) {
	level := slog.LevelInfo
	if r.message != unauthorized {
		level = slog.LevelDebug
	}
	a.log.Log(context.Background(), level, "request refused", "reason", r.reason)
}

// challenge is the value of WWW-Authenticate. The realm is a quoted-string
// (RFC 9110, 5.6.4).
func (a *answers) challenge() string {
	if a.realm == "" {
		return "VaultAuth"
	}
	return `VaultAuth realm="` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(a.realm) + `"`
}
