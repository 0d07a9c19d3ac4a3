package hashivault

import (
	"errors"
	"os"
	"path/filepath"

	"kong-vault-auth/secretstore"
)

// operator gives settings the login of the vault command: the token in a file that the
// command line names, in VAULT_TOKEN, or in ~/.vault-token, where "vault login" puts it.
func (c *Config) operator(o secretstore.Operator) error {
	home := filepath.Join(o.Getenv("HOME"), ".vault-token")
	switch {
	case o.TokenFile != "":
		c.Token, c.TokenFile = "", o.TokenFile
	case o.Getenv("VAULT_TOKEN") != "":
		c.Token = o.Getenv("VAULT_TOKEN")
	case o.Getenv("HOME") != "" && exists(home):
		c.TokenFile = home
	case c.UnixSocket == "": // else a Vault Agent may add a token of its own
		return errors.New("you have no Vault token: run vault login, set VAULT_TOKEN, or name a file with --token-file. " +
			"The plugin's own login is not used for writing")
	}
	return nil
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}
