package hashivault

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// writer is a store that can also write, with an operator's login.
type writer struct{ *store }

// OpenWriter is Open for an operator's login.
func OpenWriter(cfg Config, o secretstore.OpenOptions) (secretstore.Writer, error) {
	s, err := Open(cfg, o)
	if err != nil {
		return nil, err
	}
	w := writer{s.(*store)}
	w.operator = true
	return w, nil
}

// document is what Vault holds under a name.
type document struct {
	fields   json.RawMessage
	metadata versionMetadata // of KV v2
	gone     bool            // the version was deleted or destroyed
}

// Get implements secretstore.Writer.
func (w writer) Get(ctx context.Context, accessToken string) (*secretstore.Document, error) {
	d, err := w.get(ctx, accessToken)
	switch {
	case err != nil:
		return nil, err
	case d.gone:
		return nil, &secretstore.Absent{Reason: secretstore.ReasonDeleted}
	}
	made, _ := time.Parse(time.RFC3339, d.metadata.CreatedTime) // empty in KV v1
	return &secretstore.Document{Record: d.fields, Version: d.version(), Updated: made}, nil
}

// version is the number of the document's version. KV v1 has none, so there it is a
// digest of the contents.
func (d document) version() string {
	if d.metadata.Version > 0 {
		return strconv.Itoa(d.metadata.Version)
	}
	sum := sha256.Sum256(d.fields)
	return hex.EncodeToString(sum[:])
}

func (w writer) get(ctx context.Context, accessToken string) (d document, err error) {
	c := call{op: "read", method: http.MethodGet, part: "data", capabilities: []string{"read"}}
	a, name, kv, err := w.call(ctx, c, accessToken)
	if err != nil {
		return d, err
	}
	r, isVault := a.decode()
	fields, metadata := secretData(r.Data, kv)
	d = document{fields: fields, metadata: metadata}
	switch {
	case a.status == http.StatusOK && isVault && isObject(fields):
		return d, nil
	case isVault && !isObject(fields) && metadata.gone(): // a 404, or a 200 of old Vaults
		d.gone = true
		return d, nil
	}
	_, err = w.outcome(a, name, kv)
	return d, err
}

// Create implements secretstore.Writer.
func (w writer) Create(ctx context.Context, accessToken string, record []byte) error {
	checked, err := w.Checked(ctx)
	if err != nil {
		return err
	}
	if checked {
		err := w.put(ctx, "create", accessToken, record, 0)
		var conflict *secretstore.Conflict
		if errors.As(err, &conflict) {
			return w.explainConflict(ctx, conflict, accessToken)
		}
		return err
	}
	if err := w.mustBeAbsent(ctx, accessToken); err != nil {
		return err
	}
	return w.put(ctx, "create", accessToken, record, 0)
}

// explainConflict finds out whether a deleted secret is why a create was refused.
func (w writer) explainConflict(ctx context.Context, conflict *secretstore.Conflict, accessToken string) error {
	if d, err := w.get(ctx, accessToken); err == nil && d.gone {
		conflict.Reason = secretstore.ConflictDeleted
		conflict.Remedy = "its versions can still be undeleted: purge it, or recover it"
	}
	return conflict
}

func (w writer) mustBeAbsent(ctx context.Context, accessToken string) error {
	_, err := w.get(ctx, accessToken)
	switch {
	case err == nil:
		return &secretstore.Conflict{Op: "create " + w.name(accessToken, kv1).shown, Reason: secretstore.ConflictExists}
	case secretstore.IsAbsent(err, secretstore.ReasonNotFound):
		return nil
	}
	return err
}

// Replace implements secretstore.Writer.
func (w writer) Replace(ctx context.Context, accessToken string, record []byte, version string) error {
	if n, err := strconv.Atoi(version); err == nil && n > 0 {
		return w.put(ctx, "replace", accessToken, record, n)
	}
	d, err := w.get(ctx, accessToken)
	switch {
	case err != nil:
		return err
	case d.version() != version:
		return &secretstore.Conflict{Op: "replace " + w.name(accessToken, kv1).shown, Reason: secretstore.ConflictChanged}
	}
	return w.put(ctx, "replace", accessToken, record, 0)
}

// put writes a record. In KV v2 it replaces that version; 0 means that there must not
// be one.
func (w writer) put(ctx context.Context, op, accessToken string, record []byte, version int) error {
	c := call{op: op, method: http.MethodPost, part: "data", capabilities: []string{"create", "update"}}
	c.body = func(kv string) any {
		if kv == kv1 {
			return json.RawMessage(record)
		}
		return map[string]any{"options": map[string]any{"cas": version}, "data": json.RawMessage(record)}
	}
	a, name, _, err := w.call(ctx, c, accessToken)
	switch {
	case err != nil:
		return err
	case a.status < 300:
		return nil
	case a.status == http.StatusBadRequest && strings.Contains(string(a.body), "check-and-set parameter did not match"):
		reason := secretstore.ConflictChanged
		if version == 0 {
			reason = secretstore.ConflictExists
		}
		return &secretstore.Conflict{Op: op + " " + name.shown, Reason: reason}
	}
	return a.readFailure(op+" "+name.shown, name.redact)
}

// Delete implements secretstore.Writer. In KV v2 it deletes all versions, so that
// nobody can undelete a revoked credential.
func (w writer) Delete(ctx context.Context, accessToken string) error {
	c := call{op: "delete", method: http.MethodDelete, part: "metadata", capabilities: []string{"delete"}}
	a, name, _, err := w.call(ctx, c, accessToken)
	if err != nil || a.status < 300 {
		return err
	}
	return a.readFailure("delete "+name.shown, name.redact)
}

// Recover implements secretstore.Writer. Vault accepts a new version after a deleted
// one, so there is nothing to do.
func (w writer) Recover(ctx context.Context, accessToken string) (string, error) {
	d, err := w.get(ctx, accessToken)
	switch {
	case err != nil:
		return "", err
	case !d.gone:
		return "", w.notDeleted("recover", accessToken)
	}
	return d.version(), nil
}

func (w writer) notDeleted(op, accessToken string) error {
	return &secretstore.Conflict{Op: op + " " + w.name(accessToken, kv2).shown, Reason: secretstore.ConflictExists, Remedy: "it isn't deleted"}
}

// Purge implements secretstore.Writer.
func (w writer) Purge(ctx context.Context, accessToken string) error {
	d, err := w.get(ctx, accessToken)
	switch {
	case err != nil:
		return err
	case !d.gone:
		return w.notDeleted("purge", accessToken)
	}
	return w.Delete(ctx, accessToken)
}

// Checked implements secretstore.Writer.
func (w writer) Checked(ctx context.Context) (bool, error) {
	current, err := w.sessions.get(ctx)
	if err != nil {
		return false, err
	}
	return current.kv == kv2, nil
}

// Base64 implements secretstore.Writer.
func (w writer) Base64() bool { return w.settings.base64 }

// Names implements secretstore.Writer. KV v2 lists deleted secrets as well, unless
// Vault is 1.21 or later.
func (w writer) Names(ctx context.Context, yield func([]secretstore.Name) error) error {
	current, err := w.sessions.get(ctx)
	if err != nil {
		return err
	}
	names, _, err := w.names(ctx, current, current.kv == kv2)
	if err != nil {
		return err
	}
	return inPages(names, func(names []string) error {
		page := make([]secretstore.Name, len(names))
		for i, name := range names {
			page[i].AccessToken = name
		}
		return yield(page)
	})
}

// Wrap implements secretstore.Wrapper.
func (w writer) Wrap(ctx context.Context, fields map[string]any, ttl time.Duration) (string, error) {
	const op = "wrap the secret token"
	c := call{op: op, method: http.MethodPost, path: "sys/wrapping/wrap", wrap: ttl, capabilities: []string{"update"}}
	c.body = func(string) any { return fields }
	a, _, _, err := w.call(ctx, c, "")
	if err != nil {
		return "", err
	}
	var wrapped struct {
		Info struct{ Token string } `json:"wrap_info"`
	}
	if a.status != http.StatusOK || json.Unmarshal(a.body, &wrapped) != nil || wrapped.Info.Token == "" {
		return "", a.failure(op, redactAll)
	}
	return wrapped.Info.Token, nil
}

// call is a request of an operator's command.
type call struct {
	op           string // read, create, …, without the name
	method       string
	part         string // of a KV v2 engine: data or metadata
	path         string // if it isn't the path of a secret
	body         func(kv string) any
	wrap         time.Duration
	capabilities []string // that the token needs
}

// call makes a call, see ask. An error is a *secretstore.Failure or a
// *secretstore.Absent.
func (w writer) call(ctx context.Context, c call, accessToken string) (a *answer, name secretName, kv string, err error) {
	if err := credential.CheckAccessToken(accessToken); err != nil && c.path == "" {
		return nil, name, "", &secretstore.Absent{Reason: secretstore.ReasonNotFound}
	}
	current, err := w.sessions.get(ctx)
	if err != nil {
		return nil, name, "", err
	}
	a, current, err = w.ask(ctx, current, func(current *session) attempt {
		name = w.place(c, accessToken, current.kv)
		return attempt{
			op:     strings.TrimSpace(c.op + " " + name.shown),
			send:   func() (*answer, error) { return w.send(ctx, c, current, name) },
			failed: func(op string, err error) *secretstore.Failure { return w.unanswered(op, c, err) },
			denied: func(token tokenInfo) error { return w.lacksCapability(c, name, current.kv, token) },
		}
	})
	if err != nil {
		return nil, name, "", err
	}
	return a, name, current.kv, nil
}

// place is the path that a call is sent to.
func (w writer) place(c call, accessToken, kv string) secretName {
	if c.path != "" {
		return secretName{path: c.path}
	}
	name := w.name(accessToken, kv)
	folder := w.settings.below(c.part, kv)
	return secretName{accessToken: accessToken, path: folder + "/" + accessToken, shown: folder + name.shown[strings.LastIndex(name.shown, "/"):]}
}

// send retries reads, but not writes: if a write gets no answer, Vault may have made
// it all the same.
func (w writer) send(ctx context.Context, c call, current *session, name secretName) (*answer, error) {
	if c.method == http.MethodGet {
		return w.fetch(ctx, current.token, name)
	}
	r := request{method: c.method, path: name.path, token: current.token, wrap: c.wrap}
	if c.body != nil {
		var err error
		if r.body, err = json.Marshal(c.body(current.kv)); err != nil {
			return nil, err
		}
	}
	return w.conn.send(ctx, r)
}

func (w writer) unanswered(op string, c call, err error) *secretstore.Failure {
	f := transportFailure(op, err)
	w.conn.redial()
	if c.method != http.MethodGet && (f.Reason == "timeout" || f.Reason == "network" || f.Reason == "canceled") {
		f.Err = fmt.Errorf("%w; it isn't known whether Vault did it", f.Err)
	}
	return f
}

// lacksCapability is the failure of a 403 for a token that Vault accepts.
func (w writer) lacksCapability(c call, name secretName, kv string, token tokenInfo) *secretstore.Failure {
	path := c.path
	if path == "" {
		path = w.settings.below(c.part, kv) + "/*"
	}
	return &secretstore.Failure{
		Op: strings.TrimSpace(c.op + " " + name.shown), Reason: secretstore.Denied,
		Err:    fmt.Errorf("status 403: the token%s lacks the capability %s on it", describeToken(token), strings.Join(c.capabilities, " and ")),
		Remedy: fmt.Sprintf(`add to one of its policies: path "%s" { capabilities = ["%s"] }`, path, strings.Join(c.capabilities, `", "`)),
	}
}
