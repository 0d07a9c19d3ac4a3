package hashivault

import (
	"context"
	"errors"
	"strings"
	"time"

	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// Read reads one record. See secretstore.Store for its outcomes.
func (s *store) Read(ctx context.Context, accessToken string) (*credential.Record, error) {
	if s.closed.Load() {
		return nil, closedFailure()
	}
	if credential.CheckAccessToken(accessToken) != nil {
		return nil, &secretstore.Absent{Reason: secretstore.ReasonNotFound} // no record can have that name
	}
	found, err := s.read(ctx, secretName{accessToken: accessToken})
	s.redial.After(err)
	if err != nil {
		return nil, err
	}
	return s.parse(found, accessToken)
}

// read reads a secret. Only the fields accessToken and version of wanted are set.
func (s *store) read(ctx context.Context, wanted secretName) (*found, error) {
	current, err := s.sessions.get(ctx)
	if err != nil {
		return nil, err
	}
	name := wanted
	a, current, err := s.ask(ctx, current, func(current *session) attempt {
		name = s.name(wanted.accessToken, current.kv)
		name.version = wanted.version
		return attempt{
			op:     "read " + name.shown,
			send:   func() (*answer, error) { return s.fetch(ctx, current.token, name) },
			failed: readFailed,
			denied: func(token tokenInfo) error { return s.denied(ctx, name, current, token) },
		}
	})
	if err != nil {
		return nil, err
	}
	return s.evaluate(a, name, current)
}

// evaluate turns an answer that isn't a 403 into an outcome, and records what it
// shows about the session and the settings.
func (s *store) evaluate(a *answer, name secretName, current *session) (*found, error) {
	r, err := s.outcome(a, name, current.kv)
	var f *secretstore.Failure
	switch {
	case err == nil:
		s.found.Store(true)
	case secretstore.IsAbsent(err, secretstore.ReasonNotFound) && !s.found.Load() && !strings.HasPrefix(name.accessToken, "/"):
		s.suspectPath(current.kv)
	}
	if !errors.As(err, &f) {
		current.recent.Note(name.accessToken, time.Now())
		s.sessions.noteAccepted(current)
	} else if f.Reason == "kv_version" {
		s.sessions.requestKVCheck()
	}
	return r, err
}

// suspectPath logs a path that is probably wrong: for Vault it looks like one that
// has no secrets yet.
func (s *store) suspectPath(kv string) {
	if remedy := s.settings.dataTwice(kv); remedy != "" {
		s.sessions.log.Warn("no credential has been found so far, so every request is answered 401: the path has KV v2's data/ twice",
			"reason", "data_twice", "path", s.settings.folder(kv), "remedy", remedy)
	}
}
