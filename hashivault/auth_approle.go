package hashivault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"kong-vault-auth/secretstore"
	"kong-vault-auth/securefile"
)

func (c *checker) appRole() method {
	roleID := c.required("approle_role_id", c.secret("approle_role_id", c.cfg.AppRoleRoleID))
	secretID := c.secret("approle_secret_id", c.cfg.AppRoleSecretID)
	file := c.cfg.AppRoleSecretFile
	none := secretID == "" && file == "" // a role with bind_secret_id=false needs no secret id
	switch {
	case secretID != "" && file != "":
		c.p.Add("approle_secret_id", "approle_secret_id and approle_secret_id_file exclude each other")
	case none && c.cfg.AppRoleWrapped:
		c.p.Add("approle_secret_id", "it is empty, and approle_response_wrapping needs it, or approle_secret_id_file")
	}
	if c.cfg.AppRoleWrapped && c.cfg.TokenSinkFile == "" && !c.p.Origin.Kong {
		c.p.Add("approle_response_wrapping", "a wrapped secret id can be unwrapped once, and Kong starts a new plugin server at every reload. "+
			"Set token_sink_file, which keeps the Vault token between them, on a vault object that the node defines")
	}
	mount := c.authMount("approle_auth_path", c.cfg.AppRoleAuthPath, "approle")
	source := &secretIDSource{literal: secretID, file: file, mount: mount}
	l := &login{
		mount:  mount,
		hint:   "check the role id, and that the secret id hasn't expired or been used up (secret_id_ttl, secret_id_num_uses)",
		secret: source.read,
		body: func(secretID string) map[string]any {
			return map[string]any{"role_id": roleID, "secret_id": secretID}
		},
	}
	if none {
		l.hint = "check the role id, and that the role permits logins from here without a secret id (bind_secret_id, token_bound_cidrs); " +
			"else set approle_secret_id or approle_secret_id_file"
		l.secret = nil
		l.body = func(string) map[string]any { return map[string]any{"role_id": roleID} }
	}
	if file != "" {
		l.watch = []string{file}
	}
	if c.cfg.AppRoleWrapped {
		l.secret = (&wrappedSecretID{source: source}).read
	}
	return l
}

// secretIDSource is the setting that holds AppRole's secret id, or the token that
// wraps it.
type secretIDSource struct {
	literal string
	file    string
	mount   string // of the AppRole auth method, below auth/
}

func (s *secretIDSource) read(context.Context, *conn) (string, error) {
	if s.file == "" {
		return s.literal, nil
	}
	id, err := readSecret(s.file, securefile.Group)
	if err != nil {
		return "", fileFailure("read approle_secret_id_file", err)
	}
	return id, nil
}

// wrappedSecretID is a secret id in a response-wrapping token. Unwrapping works
// once, so the secret id is kept, and unwrapped again only when the source holds
// another wrapping token.
type wrappedSecretID struct {
	source   *secretIDSource
	wrapping string
	secretID string
}

const wrappedOp = "unwrap the secret id"

func (w *wrappedSecretID) read(ctx context.Context, c *conn) (string, error) {
	wrapping, err := w.source.read(ctx, c)
	if err != nil {
		return "", err
	}
	if wrapping == w.wrapping {
		return w.secretID, nil
	}
	if err := w.checkOrigin(ctx, c, wrapping); err != nil {
		return "", err
	}
	var unwrapped struct {
		SecretID string `json:"secret_id"`
	}
	if err := unwrapStep(ctx, c, http.MethodPut, "sys/wrapping/unwrap", wrapping, &unwrapped); err != nil {
		return "", err
	}
	if unwrapped.SecretID == "" {
		return "", &secretstore.Failure{Op: wrappedOp, Reason: "login", Err: errors.New("what was wrapped is not a secret id"), Remedy: remedyWrapping}
	}
	w.wrapping, w.secretID = wrapping, unwrapped.SecretID
	return w.secretID, nil
}

// checkOrigin checks that AppRole itself made the wrapping token. An attacker who
// intercepted it could have unwrapped the secret id and wrapped another one, but
// not in a token whose creation path is AppRole's.
func (w *wrappedSecretID) checkOrigin(ctx context.Context, c *conn, wrapping string) error {
	var info struct {
		CreationPath string `json:"creation_path"`
	}
	if err := unwrapStep(ctx, c, http.MethodGet, "sys/wrapping/lookup", wrapping, &info); err != nil {
		return err
	}
	_, of, found := strings.Cut("/"+info.CreationPath, "/auth/"+w.source.mount+"/role/")
	_, endpoint, _ := strings.Cut(of, "/")
	if !found || endpoint != "secret-id" && endpoint != "custom-secret-id" {
		return &secretstore.Failure{
			Op: wrappedOp, Reason: "login",
			Err:    fmt.Errorf("the wrapping token was made by %q, not by a role of auth/%s: somebody may have replaced it", info.CreationPath, w.source.mount),
			Remedy: "find out who did, and wrap a new secret id",
		}
	}
	return nil
}

const remedyWrapping = "wrap a new secret id (vault write -wrap-ttl=… -f auth/…/role/…/secret-id) and replace the old token with the new one; " +
	"if nobody here has unwrapped the old one, somebody else has"

// unwrapStep sends a request that the wrapping token authorizes, and decodes what it
// answers.
func unwrapStep(ctx context.Context, c *conn, method, path, wrapping string, data any) error {
	a, err := c.send(ctx, request{method: method, path: path, token: wrapping, login: true})
	if err != nil {
		return transportFailure(wrappedOp, err)
	}
	switch _, isVault := a.decode(); {
	case a.status == http.StatusOK && a.data(data) == nil:
		return nil
	case a.status == http.StatusBadRequest && isVault:
		return &secretstore.Failure{Op: wrappedOp, Reason: "login", Err: errors.New("the wrapping token has been used already or has expired"), Remedy: remedyWrapping, LoginRefused: true}
	}
	return a.failure(wrappedOp, redactAll)
}
