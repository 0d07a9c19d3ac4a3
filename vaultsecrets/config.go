package vaultsecrets

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"kong-vault-auth/kongschema"
	"kong-vault-auth/vault"
)

// Config is the plugin's configuration. Its tags are the source of the schema that Kong
// validates with, and of the reference in docs/configuration.md. No field is referenceable:
// Kong would resolve references itself, and tell the plugin of no rotation.
type Config struct {
	Headers       map[string]string `json:"headers" doc:"Headers for the upstream, by name: values with references such as {vault://azure/upstream-key/value}, alone or inside a longer value."`
	Query         map[string]string `json:"query" doc:"Query arguments for the upstream, by name, as in headers. Prefer headers: URLs end up in logs."`
	Authorization *Authorization    `json:"authorization" doc:"An Authorization header for the upstream."`
}

// Authorization is an Authorization header.
type Authorization struct {
	Type     string `json:"type" kong:"required;one_of=basic|bearer" doc:"The scheme: basic, with username and password, or bearer, with token."`
	Username string `json:"username" doc:"The user's name, for basic. May hold references."`
	Password string `json:"password" doc:"The password, for basic. May hold references."`
	Token    string `json:"token" doc:"The token, for bearer. May hold references."`
}

// EntityChecks are the rules across fields, in Kong's schema language.
func (Config) EntityChecks() []any {
	return []any{map[string]any{"at_least_one_of": []string{"headers", "query", "authorization"}}}
}

// parseConfig reads a configuration from Kong. Its errors say what to change.
func parseConfig(data []byte) (*Config, vault.Scope, error) {
	var c Config
	var ids struct { // Kong itself sets them
		Workspace string `json:"__ws_id"`
		Service   string `json:"service_id"`
		Route     string `json:"route_id"`
	}
	if err := kongschema.Unmarshal(data, &c); err != nil {
		return nil, vault.Scope{}, fmt.Errorf("config: %w", err)
	}
	if err := json.Unmarshal(data, &ids); err != nil {
		return nil, vault.Scope{}, fmt.Errorf("config: %w", err)
	}
	return &c, vault.Scope{Service: ids.Service, Route: ids.Route, Workspace: ids.Workspace}, c.validate()
}

// validate checks names, and what Kong's schema can't express. Templates are checked when
// they are parsed.
func (c *Config) validate() error {
	if len(c.Headers) == 0 && len(c.Query) == 0 && c.Authorization == nil {
		return errors.New("config: headers, query or authorization must be set")
	}
	seen := map[string]string{}
	if c.Authorization != nil {
		if err := c.Authorization.validate(); err != nil {
			return fmt.Errorf("config.authorization: %w", err)
		}
		seen["authorization"] = "authorization"
	}
	for _, name := range slices.Sorted(maps.Keys(c.Headers)) {
		folded := folded(name)
		switch {
		case !isName(name):
			return fmt.Errorf("config.headers: %q can't be the name of a header: use letters, digits, _ and -", name)
		case slices.Contains(reserved, folded):
			return fmt.Errorf("config.headers: %s can't be set: the request, or what Kong says of its consumer, depends on it", name)
		case strings.Count(folded, "-") > maxSeparators:
			return fmt.Errorf("config.headers: %s has more than %d hyphens, so it has too many spellings to remove", name, maxSeparators)
		case seen[folded] != "":
			return fmt.Errorf("config.headers: %s and %s are the same header for many upstreams; set one of them", name, seen[folded])
		}
		seen[folded] = name
	}
	seen = map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.Query)) {
		lower := strings.ToLower(name)
		switch {
		case !isName(name):
			return fmt.Errorf("config.query: %q can't be the name of an argument: use letters, digits, _ and -", name)
		case seen[lower] != "":
			return fmt.Errorf("config.query: %s and %s differ in case only; set one of them", name, seen[lower])
		}
		seen[lower] = name
	}
	return nil
}

func (a *Authorization) validate() error {
	basic := a.Username != "" || a.Password != ""
	switch {
	case a.Type == "basic" && basic && a.Token == "", a.Type == "bearer" && !basic && a.Token != "":
		return nil
	}
	return errors.New("set type to basic, with username or password, or to bearer, with token")
}

// reserved are headers, folded, that can't hold a secret.
var reserved = []string{
	"host", "content-length", "transfer-encoding", "connection", "upgrade", "te", "content-type", "content-encoding",
	"x-consumer-id", "x-consumer-custom-id", "x-consumer-username", "x-consumer-groups", "x-authenticated-groups",
	"x-credential-identifier", "x-anonymous-consumer",
}

func isName(name string) bool {
	return name != "" && strings.Trim(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") == ""
}

// folded returns a header's name as upstreams read it that treat _ and - alike.
func folded(name string) string { return strings.ReplaceAll(strings.ToLower(name), "_", "-") }
