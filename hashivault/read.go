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
// A 403 is looked into before it is believed: if Vault no longer accepts the
// token, another one is obtained and the read repeated, once.
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
			return nil, unread("read "+name.shown, err)
		}
		if a.status != http.StatusForbidden || !a.isRefusal() {
			return s.settle(a, name, current)
		}
		stands, err := s.standing(ctx, current)
		if err != nil {
			return nil, err
		}
		if stands.accepted {
			return nil, s.denied(ctx, name, current, stands.token)
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

// settle draws the consequences of an answer that isn't a 403.
func (s *store) settle(a *answer, name secretName, current *session) (*found, error) {
	r, err := s.outcome(a, name, current.kv)
	var f *secretstore.Failure
	var absent *secretstore.Absent
	switch {
	case err == nil:
		s.found.Store(true)
	case errors.As(err, &absent) && absent.Reason == secretstore.ReasonNotFound && !s.found.Load() && !strings.HasPrefix(name.accessToken, "/"):
		s.suspectPath(current.kv)
	}
	if !errors.As(err, &f) {
		current.recent.Note(name.accessToken, time.Now())
		s.sessions.prove(current)
	} else if f.Reason == "kv_version" {
		s.sessions.doubtKV()
	}
	return r, err
}

// suspectPath reports a path that is likely wrong, since Vault can't tell it from
// one that has no secrets yet.
func (s *store) suspectPath(kv string) {
	if remedy := s.settings.dataTwice(kv); remedy != "" {
		s.sessions.log.Warn("no credential has been found so far, so every request is answered 401: KV v2's data/ is looked for twice",
			"reason", "data_twice", "path", s.settings.folder(kv), "remedy", remedy)
	}
}

// standing asks whether Vault still accepts a session's token.
func (s *store) standing(ctx context.Context, current *session) (standing, error) {
	stands, err := current.inquiry.ask(ctx, func(ctx context.Context) (standing, error) {
		if current.refused.Load() {
			return standing{}, nil
		}
		return s.conn.askStanding(ctx, current.token)
	})
	if err == nil && stands.accepted {
		s.sessions.prove(current)
	}
	return stands, err
}
