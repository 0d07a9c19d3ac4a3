package hashivault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"kong-vault-auth/securefile"
)

// sunk is a login whose token is kept in a file (token_sink_file), since the
// secret id it took can't be had again: the next process, which Kong starts at
// every reload beside this one, goes on with the token instead of logging in.
type sunk struct {
	inner method
	file  string
	given string // the token that was returned last: it has served its time when another is asked for
}

func (s *sunk) another(used string) bool { return s.inner.another(used) }

func (s *sunk) files() []string { return s.inner.files() }

func (s *sunk) remedy() string { return s.inner.remedy() }

func (s *sunk) obtain(ctx context.Context, c *conn, afresh bool) (grant, error) {
	if !afresh {
		g, err := s.restore(ctx, c)
		if err != nil {
			return grant{}, err
		}
		if g.token != "" {
			s.given = g.token
			return g, nil
		}
	}
	g, err := s.inner.obtain(ctx, c, afresh)
	if err != nil {
		return grant{}, err
	}
	g.revoke = false // the next process needs it
	s.given = g.token
	if err := s.keep(g.token); err != nil {
		g.caveat = fmt.Errorf("token_sink_file can't be written, so the next start can't log in: %w", err)
	}
	return g, nil
}

// restore returns the token in the file if it still lives, else none. An error
// means that Vault couldn't say, or that the file can't be trusted.
func (s *sunk) restore(ctx context.Context, c *conn) (grant, error) {
	token, err := readSecret(s.file, securefile.Group)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errEmptyFile):
		return grant{}, nil
	case err != nil:
		return grant{}, fileFailure("read token_sink_file", err)
	case token == s.given:
		return grant{}, nil
	}
	stands, err := c.askStanding(ctx, token)
	if err != nil || !stands.accepted {
		return grant{}, err
	}
	return grant{token: token, auth: stands.token.auth(token)}, nil
}

func (s *sunk) keep(token string) error {
	return securefile.Replace(s.file, func(w io.Writer) error {
		_, err := io.WriteString(w, token+"\n")
		return err
	})
}
