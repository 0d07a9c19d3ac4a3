package vaultauth

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"kong-vault-auth/azurevault"
	"kong-vault-auth/hashivault"
	"kong-vault-auth/kongschema"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/tokens"
)

// Config is the plugin's configuration. Its tags are the source of the schema
// that Kong validates with, of the defaults, and of the reference in docs/configuration.md.
type Config struct {
	AccessTokenName string             `json:"access_token_name" kong:"required;default=access_token;match=^[%w_-]+$" doc:"Name of the header, query argument and body field that holds the access token. In headers letter case doesn't matter and _ equals -."`
	SecretTokenName string             `json:"secret_token_name" kong:"required;default=secret_token;match=^[%w_-]+$" doc:"Name of the header, query argument and body field that holds the secret token. In headers letter case doesn't matter and _ equals -."`
	TokensInQuery   bool               `json:"tokens_in_query" kong:"required;default=true" doc:"Also look for tokens in the query string. False is recommended: URLs end up in logs."`
	TokensInBody    bool               `json:"tokens_in_body" kong:"required;default=false" doc:"Also look for tokens in a form-encoded, JSON or multipart body. With hide_credentials such a body is read even if the tokens are in headers, to take out any that are in it too."`
	MaxBodyBytes    int                `json:"max_body_bytes" kong:"required;default=65536;between=1,8388608" doc:"Largest body, in bytes, that is searched for tokens; one whose Content-Length is larger is not read. Kong keeps bodies over client_body_buffer_size in a file, which only a plugin server on the same machine can read."`
	HideCredentials bool               `json:"hide_credentials" kong:"required;default=true" doc:"Remove the tokens, wherever they are searched for, from the request before it goes to the upstream. Log plugins see none of them in any case."`
	Anonymous       string             `json:"anonymous" doc:"Id or username of the consumer to use when authentication fails, so that another auth plugin may succeed instead (logical OR). Left out, such requests are refused."`
	RunOnPreflight  bool               `json:"run_on_preflight" kong:"required;default=true" doc:"Authenticate OPTIONS requests too. False lets them pass unauthenticated."`
	Realm           string             `json:"realm" doc:"Realm named in the WWW-Authenticate header of 401 answers."`
	Vault           string             `json:"vault" doc:"Name of a vault object that this node defines, in VAULT_AUTH_VAULTS_FILE or by KONG_VAULT_* variables."`
	HCV             *hashivault.Config `json:"hcv" doc:"A HashiCorp Vault object of this plugin's own."`
	Azure           *azurevault.Config `json:"azure" doc:"An Azure Key Vault object of this plugin's own."`
}

// EntityChecks are the rules across fields, in Kong's schema language.
func (Config) EntityChecks() []any {
	return []any{
		map[string]any{"only_one_of": []string{"vault", "hcv", "azure"}},
		map[string]any{"distinct": []string{"access_token_name", "secret_token_name"}},
	}
}

// inline is the vault object that stands in the configuration, nil if none does.
func (c *Config) inline() secretstore.Config {
	switch {
	case c.HCV != nil:
		return c.HCV
	case c.Azure != nil:
		return c.Azure
	}
	return nil // and no interface that holds a nil pointer
}

// origin is what Kong adds to a configuration: whose it is, what it applies to, and the
// references that Kong has resolved in records, by field. Kong overwrites these ids, so a
// configuration can't claim others.
type origin struct {
	PluginID  string `json:"__plugin_id"`
	Workspace string `json:"__ws_id"`
	Service   string `json:"service_id"`
	Route     string `json:"route_id"`
	HCV       record `json:"hcv"`
	Azure     record `json:"azure"`
}

type record struct {
	Refs map[string]any `json:"$refs"`
}

// refs are the references in the inline vault object.
func (o origin) refs() map[string]string {
	refs := map[string]string{}
	for _, r := range []record{o.HCV, o.Azure} {
		for field, reference := range r.Refs {
			if s, ok := reference.(string); ok {
				refs[field] = s
			}
		}
	}
	return refs
}

// reserved are the headers that can't carry a token: removing them would break the request,
// or remove what this plugin itself sets.
var reserved = append([]string{
	"host", "content-length", "transfer-encoding", "connection", "content-type", "content-encoding", "upgrade",
}, identityNames[:]...)

// parseConfig reads what Kong hands over. Its errors say what to change, and
// hold no secret.
func parseConfig(data []byte) (*Config, origin, error) {
	var c Config
	var o origin
	if err := kongschema.Unmarshal(data, &c); err != nil {
		return nil, o, fmt.Errorf("config: %w", err)
	}
	if err := json.Unmarshal(data, &o); err != nil {
		return nil, o, fmt.Errorf("config: %w", err)
	}
	return &c, o, c.validate()
}

// validate checks what Kong's schema checks, since not every configuration has been through
// it, and what the schema can't express.
func (c *Config) validate() error {
	for _, f := range []struct{ field, name string }{{"access_token_name", c.AccessTokenName}, {"secret_token_name", c.SecretTokenName}} {
		if err := checkTokenName(f.name); err != nil {
			return fmt.Errorf("config.%s: %w", f.field, err)
		}
	}
	if tokens.SameHeader(c.AccessTokenName, c.SecretTokenName) {
		return fmt.Errorf("config.secret_token_name: %q and access_token_name are the same header; choose different names", c.SecretTokenName)
	}
	if c.MaxBodyBytes < 1 {
		return errors.New("config.max_body_bytes: must be at least 1")
	}
	if strings.ContainsFunc(c.Realm, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return errors.New("config.realm: must not hold control characters")
	}
	given := 0
	for _, set := range []bool{c.Vault != "", c.HCV != nil, c.Azure != nil} {
		if set {
			given++
		}
	}
	if given != 1 {
		return fmt.Errorf("config: exactly one of vault, hcv and azure must be set, and %d are", given)
	}
	return nil
}

func checkTokenName(name string) error {
	if name == "" || strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
		return fmt.Errorf("%q can't be the name of a header, query argument and body field: use letters, digits, _ and -", name)
	}
	for _, r := range reserved {
		if tokens.SameHeader(name, r) {
			return fmt.Errorf("%q can't carry a token: choose a header of its own", name)
		}
	}
	return nil
}
