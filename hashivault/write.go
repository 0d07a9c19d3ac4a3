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

// writer is a store that writes too, as an operator's login.
type writer struct{ *store }

// OpenWriter is Open for an operator's login.
func OpenWriter(cfg Config, o secretstore.OpenOptions) (secretstore.Writer, error) {
	s, err := Open(cfg, o)
	if err != nil {
		return nil, err
	}
	return writer{s.(*store)}, nil
}

// document is what Vault holds under a name. version is 0 in KV v1, and in KV v2
// where there has never been anything.
type document struct {
	fields  json.RawMessage
	version int
	gone    bool // the version was deleted or destroyed
	made    time.Time
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
	return &secretstore.Document{Record: d.fields, Version: d.name(), Updated: d.made}, nil
}

// name is what the document's version is called. KV v1 has none: there it is a
// digest of the contents.
func (d document) name() string {
	if d.version > 0 {
		return strconv.Itoa(d.version)
	}
	sum := sha256.Sum256(d.fields)
	return hex.EncodeToString(sum[:])
}

func (w writer) get(ctx context.Context, accessToken string) (d document, err error) {
	c := call{op: "read", method: http.MethodGet, part: "data", capability: "read"}
	a, name, kv, err := w.call(ctx, c, accessToken)
	if err != nil {
		return d, err
	}
	r, isVault := a.decode()
	fields, metadata := secretData(r.Data, kv)
	d = document{fields: fields}
	if kv == kv2 {
		d.version, d.made = versionOf(r.Data)
	}
	switch {
	case a.status == http.StatusOK && isVault && isObject(fields):
		return d, nil
	case isVault && !isObject(fields) && metadata.gone(): // a 404, or in old versions a 200
		d.gone = true
		return d, nil
	}
	_, err = w.outcome(a, name, kv)
	return d, err
}

// versionOf is the number of a KV v2 secret's version, and when it was written.
func versionOf(data json.RawMessage) (version int, made time.Time) {
	var v2 struct {
		Metadata struct {
			Version int       `json:"version"`
			Created time.Time `json:"created_time"`
		} `json:"metadata"`
	}
	_ = json.Unmarshal(data, &v2) // without a version, a replacement will be refused
	return v2.Metadata.Version, v2.Metadata.Created
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
			return w.inTheWay(ctx, conflict, accessToken)
		}
		return err
	}
	if err := w.mustBeAbsent(ctx, accessToken); err != nil {
		return err
	}
	return w.put(ctx, "create", accessToken, record, 0)
}

// inTheWay finds out what a create has met.
func (w writer) inTheWay(ctx context.Context, conflict *secretstore.Conflict, accessToken string) error {
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
	case d.name() != version:
		return &secretstore.Conflict{Op: "replace " + w.name(accessToken, kv1).shown, Reason: secretstore.ConflictChanged}
	}
	return w.put(ctx, "replace", accessToken, record, 0)
}

// put writes a record. In KV v2 it takes the place of that version, and 0 is none.
func (w writer) put(ctx context.Context, op, accessToken string, record []byte, version int) error {
	c := call{op: op, method: http.MethodPost, part: "data", capability: "create and update"}
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

// Delete implements secretstore.Writer. In KV v2 it deletes all versions, for a
// revoked credential must not come back by an undelete.
func (w writer) Delete(ctx context.Context, accessToken string) error {
	return w.done(ctx, call{op: "delete", method: http.MethodDelete, part: "metadata", capability: "delete"}, accessToken)
}

// Recover implements secretstore.Writer: a new version may follow a deleted one.
func (w writer) Recover(ctx context.Context, accessToken string) (string, error) {
	d, err := w.get(ctx, accessToken)
	switch {
	case err != nil:
		return "", err
	case !d.gone:
		return "", w.notDeleted("recover", accessToken)
	}
	return d.name(), nil
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

// Names implements secretstore.Writer. KV v2 lists deleted secrets as well; those
// that are can be left out since Vault 1.21.
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
	c := call{op: op, method: http.MethodPost, path: "sys/wrapping/wrap", wrap: ttl, capability: "update"}
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

// call is a request of an operator's.
type call struct {
	op         string // read, create, …, without the name
	method     string
	part       string // data or metadata in KV v2
	path       string // in place of the secret's
	body       func(kv string) any
	wrap       time.Duration
	capability string // that it takes
}

// done makes a call whose answer has nothing in it that matters.
func (w writer) done(ctx context.Context, c call, accessToken string) error {
	a, name, _, err := w.call(ctx, c, accessToken)
	if err != nil || a.status < 300 {
		return err
	}
	return a.readFailure(c.op+" "+name.shown, name.redact)
}

// call makes a call, once more if Vault no longer accepts the token and there is
// another. An error is a failure; the answer can be any other.
func (w writer) call(ctx context.Context, c call, accessToken string) (*answer, secretName, string, error) {
	if err := credential.CheckAccessToken(accessToken); err != nil && c.path == "" {
		return nil, secretName{}, "", &secretstore.Absent{Reason: secretstore.ReasonNotFound}
	}
	current, err := w.sessions.get(ctx)
	if err != nil {
		return nil, secretName{}, "", err
	}
	for renewed := false; ; renewed = true {
		name := w.place(c, accessToken, current.kv)
		op := strings.TrimSpace(c.op + " " + name.shown)
		a, err := w.send(ctx, c, current, name)
		if err != nil {
			return nil, name, "", w.unanswered(op, c, err)
		}
		if a.status != http.StatusForbidden || !a.isRefusal() {
			return a, name, current.kv, nil
		}
		status, err := w.tokenStatus(ctx, current)
		switch {
		case err != nil:
			return nil, name, "", err
		case status.accepted:
			return nil, name, "", w.mayNot(op, c, name, current.kv, status.token)
		}
		refusal := w.refusal(op, renewed)
		refusal.Remedy = "log in again: vault login, or renew what VAULT_TOKEN, --token-file or VAULT_AUTH_WRITE_FILE hold"
		if renewed {
			return nil, name, "", refusal
		}
		if current, err = w.sessions.replace(ctx, current, refusal); err != nil {
			return nil, name, "", err
		}
	}
}

// place is where a call goes.
func (w writer) place(c call, accessToken, kv string) secretName {
	if c.path != "" {
		return secretName{path: c.path}
	}
	name := w.name(accessToken, kv)
	folder := w.settings.below(c.part, kv)
	return secretName{accessToken: accessToken, path: folder + "/" + accessToken, shown: folder + name.shown[strings.LastIndex(name.shown, "/"):]}
}

// send reads in several attempts, where that helps, and writes in one: of a write
// without an answer nobody knows whether it was made.
func (w writer) send(ctx context.Context, c call, current *session, name secretName) (*answer, error) {
	if c.method == http.MethodGet {
		return w.fetch(ctx, current.token, name)
	}
	var body []byte
	if c.body != nil {
		var err error
		if body, err = json.Marshal(c.body(current.kv)); err != nil {
			return nil, err
		}
	}
	return w.conn.write(ctx, c.method, current.token, name.path, body, c.wrap)
}

func (w writer) unanswered(op string, c call, err error) error {
	f := transportFailure(op, err)
	w.conn.redial()
	if c.method != http.MethodGet && (f.Reason == "timeout" || f.Reason == "network" || f.Reason == "canceled") {
		f.Err = fmt.Errorf("%w; it isn't known whether Vault did it", f.Err)
	}
	return f
}

// mayNot is a 403 although the token is accepted.
func (w writer) mayNot(op string, c call, name secretName, kv string, token tokenInfo) *secretstore.Failure {
	path := c.path
	if path == "" {
		path = w.settings.below(c.part, kv) + "/*"
	}
	capabilities := strings.Split(c.capability, " and ")
	quoted, _ := json.Marshal(capabilities)
	return &secretstore.Failure{
		Op: op, Reason: secretstore.Denied,
		Err:    fmt.Errorf("status 403: the token%s lacks the capability %s on it", describeToken(token), c.capability),
		Remedy: fmt.Sprintf(`add to one of its policies: path "%s" { capabilities = %s }`, path, strings.ReplaceAll(string(quoted), ",", ", ")),
	}
}
