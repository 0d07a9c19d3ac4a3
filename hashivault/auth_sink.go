package hashivault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"kong-vault-auth/securefile"
)

// tokenSink is a login whose token is also kept in a file (token_sink_file), because
// its secret id can't be used twice. The next process, which Kong starts at every
// reload, continues with that token instead of a login.
type tokenSink struct {
	inner    method
	file     string
	returned string // the last token that obtain returned; it is no longer usable when obtain is called again
}

func (s *tokenSink) another(used string) bool { return s.inner.another(used) }

func (s *tokenSink) files() []string { return s.inner.files() }

func (s *tokenSink) remedy() string { return s.inner.remedy() }

func (s *tokenSink) obtain(ctx context.Context, c *conn, filesChanged bool) (grant, error) {
	if !filesChanged {
		g, err := s.restore(ctx, c)
		if err != nil {
			return grant{}, err
		}
		if g.token != "" {
			s.returned = g.token
			return g, nil
		}
	}
	g, err := s.inner.obtain(ctx, c, filesChanged)
	if err != nil {
		return grant{}, err
	}
	g.revoke = false // the next process needs it
	s.returned = g.token
	if err := s.keep(g.token); err != nil {
		g.warning = fmt.Errorf("token_sink_file can't be written, so the next start can't log in: %w", err)
	}
	return g, nil
}

// restore returns the token in the file if Vault still accepts it, and otherwise an
// empty grant. An error means that Vault couldn't say, or that the file can't be trusted.
func (s *tokenSink) restore(ctx context.Context, c *conn) (grant, error) {
	token, err := readSecret(s.file, securefile.Group)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errEmptyFile):
		return grant{}, nil
	case err != nil:
		return grant{}, fileFailure("read token_sink_file", err)
	case token == s.returned:
		return grant{}, nil
	}
	status, err := c.tokenStatus(ctx, token)
	if err != nil || !status.accepted {
		return grant{}, err
	}
	return grant{token: token, auth: status.token.auth(token)}, nil
}

func (s *tokenSink) keep(token string) error {
	return securefile.Replace(s.file, func(w io.Writer) error {
		_, err := io.WriteString(w, token+"\n")
		return err
	})
}
