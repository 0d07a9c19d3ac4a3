package hashivault

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// Read reads one record. See secretstore.Store for its outcomes.
//
// After a 403 it asks whether Vault still accepts the token. If not, it gets
// another token and repeats the read, once.
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

// read reads a secret. Of wanted, accessToken and version are given.
func (s *store) read(ctx context.Context, wanted secretName) (*found, error) {
	current, err := s.sessions.get(ctx)
	if err != nil {
		return nil, err
	}
	for renewed := false; ; renewed = true {
		name := s.name(wanted.accessToken, current.kv)
		name.version = wanted.version
		a, err := s.fetch(ctx, current.token, name)
		if err != nil {
			return nil, readFailed("read "+name.shown, err)
		}
		if a.status != http.StatusForbidden || !a.isRefusal() {
			return s.evaluate(a, name, current)
		}
		status, err := s.tokenStatus(ctx, current)
		if err != nil {
			return nil, err
		}
		if status.accepted {
			return nil, s.denied(ctx, name, current, status.token)
		}
		refusal := s.refusal("read "+name.shown, renewed)
		if renewed {
			return nil, refusal
		}
		if current, err = s.sessions.replace(ctx, current, refusal); err != nil {
			return nil, err
		}
	}
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

// tokenStatus asks whether Vault still accepts a session's token.
func (s *store) tokenStatus(ctx context.Context, current *session) (tokenStatus, error) {
	status, err := current.check.do(ctx, func(ctx context.Context) (tokenStatus, error) {
		if current.refused.Load() {
			return tokenStatus{}, nil
		}
		return s.conn.tokenStatus(ctx, current.token)
	})
	if err == nil && status.accepted {
		s.sessions.noteAccepted(current)
	}
	return status, err
}
