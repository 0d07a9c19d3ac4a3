package hashivault

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
)

// Address implements secretstore.Inspector.
func (s *store) Address() *url.URL {
	if s.settings.socket != "" {
		return &url.URL{Scheme: "unix", Path: s.settings.socket}
	}
	return &url.URL{Scheme: s.settings.base.Scheme, Host: s.settings.base.Host}
}

// Login implements secretstore.Inspector. It also asks Vault whether it accepts the
// token, since one in the configuration was obtained without asking.
func (s *store) Login(ctx context.Context) error {
	current, err := s.sessions.get(ctx)
	if err != nil {
		return err
	}
	status, err := s.conn.tokenStatus(ctx, current.token)
	if err == nil && !status.accepted {
		return s.refusal("use the Vault token", false)
	}
	return err
}

// MayWrite implements secretstore.Inspector: Vault reports a token's capabilities.
func (s *store) MayWrite(ctx context.Context) (bool, error) {
	current, err := s.sessions.get(ctx)
	if err != nil {
		return false, err
	}
	paths := []string{s.settings.folder(current.kv) + "/x", s.settings.listFolder(current.kv) + "/x"}
	body, err := json.Marshal(map[string]any{"paths": paths})
	if err != nil {
		return false, err
	}
	const op = "ask what the Vault token may do"
	a, err := s.conn.send(ctx, request{method: http.MethodPost, path: "sys/capabilities-self", token: current.token, body: body})
	if err != nil {
		return false, transportFailure(op, err)
	}
	may := map[string]json.RawMessage{}
	if a.status != http.StatusOK || a.data(&may) != nil {
		return false, a.failure(op, redactAll)
	}
	for _, path := range paths {
		var capabilities []string
		if err := json.Unmarshal(may[path], &capabilities); err != nil {
			return false, a.failure(op, redactAll)
		}
		if slices.ContainsFunc(capabilities, changes) {
			return true, nil
		}
	}
	return false, nil
}

// changes reports whether a capability permits to change a secret.
func changes(capability string) bool {
	return slices.Contains([]string{"create", "update", "patch", "delete", "sudo", "root"}, capability)
}
