package hashivault

import (
	"context"
	"fmt"

	"kong-vault-auth/securefile"
)

func (c *checker) token(d dialing) method {
	token := c.secret("token", c.cfg.Token)
	switch {
	case token != "" && c.cfg.TokenFile != "":
		c.p.Add("token", "token and token_file exclude each other")
	case c.cfg.TokenFile != "":
		return &tokenFile{c.cfg.TokenFile}
	case d.socket == "": // a Vault Agent may add its own token
		c.required("token", token)
	}
	return staticToken(token)
}

// staticToken is a token in the configuration.
type staticToken string

func (t staticToken) obtain(context.Context, *conn, bool) (grant, error) {
	return grant{token: string(t)}, nil
}

func (staticToken) another(string) bool { return false }

func (staticToken) files() []string { return nil }

func (staticToken) remedy() string {
	return "put a valid token into token, or let the plugin log in by itself: see auth_method"
}

// tokenFile is a token in a file that another program, such as Vault Agent, keeps
// valid.
type tokenFile struct{ file string }

func (t *tokenFile) obtain(context.Context, *conn, bool) (grant, error) {
	token, err := readSecret(t.file, securefile.Group)
	if err != nil {
		return grant{}, fileFailure("read token_file", err)
	}
	return grant{token: token}, nil
}

func (t *tokenFile) another(used string) bool {
	token, err := readSecret(t.file, securefile.Group)
	return err == nil && token != used
}

func (t *tokenFile) files() []string { return []string{t.file} }

func (t *tokenFile) remedy() string {
	return fmt.Sprintf("check what should write a fresh token to %s: does Vault Agent run?", t.file)
}
