package admin

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"kong-vault-auth/credential"
	"kong-vault-auth/manage"
	"kong-vault-auth/secretstore"
)

// recordFields are the fields of a body that are the record's own.
var recordFields = []string{"ttl", "groups", "allowed_ips", "not_before", "expires_at", "description"}

// The sizes that a page of a list may have.
const (
	defaultSize = 100
	maxSize     = 1000
)

// credentialBody is a credential as an answer shows it. Times are Unix seconds.
type credentialBody struct {
	AccessToken       string           `json:"access_token"`
	SecretToken       string           `json:"secret_token,omitempty"` // of a new one only
	Consumer          *manage.Consumer `json:"consumer,omitempty"`
	CreatedAt         *int64           `json:"created_at"`
	UpdatedAt         *int64           `json:"updated_at"`
	TTL               *float64         `json:"ttl"`
	Fingerprint       string           `json:"fingerprint"`
	Stored            string           `json:"stored,omitempty"`
	Enabled           bool             `json:"enabled"`
	NotBefore         *int64           `json:"not_before,omitempty"`
	ExpiresAt         *int64           `json:"expires_at,omitempty"`
	PreviousExpiresAt *int64           `json:"previous_expires_at,omitempty"`
	Groups            []string         `json:"groups,omitempty"`
	AllowedIPs        []string         `json:"allowed_ips,omitempty"`
	Description       string           `json:"description,omitempty"`
	CreatedBy         string           `json:"created_by,omitempty"`
	Problem           string           `json:"problem,omitempty"`
}

func bodyOf(e *manage.Entry) *credentialBody {
	b := &credentialBody{
		AccessToken: e.AccessToken, Consumer: e.Consumer, CreatedAt: unix(e.CreatedAt), UpdatedAt: unix(e.UpdatedAt),
		Fingerprint: e.Fingerprint, Stored: e.Stored, Enabled: e.Enabled,
		NotBefore: unix(e.NotBefore), ExpiresAt: unix(e.ExpiresAt), PreviousExpiresAt: unix(e.PreviousExpiresAt),
		Groups: e.Groups, AllowedIPs: e.AllowedIPs, Description: e.Description, CreatedBy: e.CreatedBy, Problem: e.Problem,
	}
	if e.TTL > 0 {
		b.TTL = &e.TTL
	}
	return b
}

func unix(t *time.Time) *int64 {
	if t == nil {
		return nil
	}
	seconds := t.Unix()
	return &seconds
}

// issuedBody is a credential with its new secret token, which is shown only now.
func issuedBody(i *manage.Issued) data {
	b := bodyOf(&i.Entry)
	b.SecretToken = i.Reveal()
	return data{b}
}

// data is the body of an answer with one credential.
type data struct {
	Data *credentialBody `json:"data"`
}

// listBody is the body of an answer with a page of a list.
type listBody[T any] struct {
	Data   []T     `json:"data"`
	Next   *string `json:"next"` // the path of the next page
	Offset string  `json:"offset,omitempty"`
}

// inAnswer is a manage.Delivery: the new secret token is only in the answer.
func inAnswer(*manage.Issued) (func(), error) { return nil, nil }

func (s *Server) list(r *request) (int, any, error) {
	size, after, err := r.page()
	if err != nil {
		return 0, nil, err
	}
	body := listBody[*credentialBody]{Data: []*credentialBody{}}
	err = s.with(r, func(v *manage.Vault) error {
		p, err := v.Page(r.Context(), after, size)
		if err != nil {
			return err
		}
		for i := range p.Entries {
			body.Data = append(body.Data, bodyOf(&p.Entries[i]))
		}
		if p.Next != "" {
			body.Offset = base64.RawURLEncoding.EncodeToString([]byte(p.Next))
			next := r.URL.EscapedPath() + "?" + url.Values{"offset": {body.Offset}, "size": {strconv.Itoa(size)}}.Encode()
			body.Next = &next
		}
		return nil
	})
	return http.StatusOK, body, err
}

// page is the page of a list that a request is for.
func (r *request) page() (size int, after string, err error) {
	q := r.URL.Query()
	size = defaultSize
	if text := q.Get("size"); text != "" {
		if size, err = strconv.Atoi(text); err != nil || size < 1 || size > maxSize {
			return 0, "", badRequest("size must be a number between 1 and %d", maxSize)
		}
	}
	b, err := base64.RawURLEncoding.DecodeString(q.Get("offset"))
	if err != nil || len(b) > credential.MaxAccessToken {
		return 0, "", badRequest("offset must be one that an earlier page gave")
	}
	return size, string(b), nil
}

// create creates a credential for the consumer that the path or the body names.
func (s *Server) create(r *request) (int, any, error) {
	r.change.action = "credential.create"
	f, err := r.body(append([]string{"consumer", "access_token", "prefix", "plain"}, recordFields...)...)
	if err != nil {
		return 0, nil, err
	}
	n, err := s.newCredential(r, f)
	if err != nil {
		return 0, nil, err
	}
	if n.Deleted, err = r.deleted(); err != nil {
		return 0, nil, err
	}
	name, err := consumerName(r.PathValue("consumer"), f["consumer"])
	if err != nil {
		return 0, nil, err
	}
	var body data
	err = s.with(r, func(v *manage.Vault) error {
		admin, err := s.kong()
		if err != nil {
			return err
		}
		who, err := manage.FindConsumer(r.Context(), admin, name)
		if err != nil {
			return ofKong(err)
		}
		n.Consumer = who.Consumer
		if n.AccessToken != "" {
			r.change.fingerprint = v.Fingerprint(n.AccessToken)
		}
		i, err := v.Create(r.Context(), *n, inAnswer)
		if secretstore.IsConflict(err, secretstore.ConflictDeleted) {
			return fmt.Errorf("%w; ?recover=true makes the credential its newest version, ?purge=true removes it for good", err)
		}
		if err != nil {
			return err
		}
		r.change.fingerprint = i.Fingerprint
		s.changed(r, v, i.AccessToken)
		body = issuedBody(i)
		return nil
	})
	return http.StatusCreated, body, err
}

// deleted is what to do about a deleted secret that holds the name, by the query.
func (r *request) deleted() (manage.Deleted, error) {
	recovers, err := r.parameter("recover")
	if err != nil {
		return manage.KeepDeleted, err
	}
	purges, err := r.parameter("purge")
	switch {
	case err != nil:
		return manage.KeepDeleted, err
	case recovers && purges:
		return manage.KeepDeleted, badRequest("recover and purge exclude each other")
	case recovers:
		return manage.RecoverDeleted, nil
	case purges:
		return manage.PurgeDeleted, nil
	}
	return manage.KeepDeleted, nil
}

// newCredential is the credential that a body describes.
func (s *Server) newCredential(r *request, f fields) (*manage.New, error) {
	record, err := f.record()
	if err != nil {
		return nil, err
	}
	n := &manage.New{
		TTL: record.TTL, Groups: record.Groups, AllowedIPs: record.AllowedIPs,
		NotBefore: record.NotBefore, ExpiresAt: record.ExpiresAt, Description: record.Description, CreatedBy: who(r.Context()),
	}
	if n.Plain, err = f.flag("plain"); err != nil {
		return nil, err
	}
	if n.AccessToken, _, err = f.text("access_token"); err != nil {
		return nil, err
	}
	if n.AccessToken != "" {
		if err := credential.CheckAccessToken(n.AccessToken); err != nil {
			return nil, badRequest("access_token: %w", err)
		}
	}
	if n.Prefix, _, err = f.text("prefix"); err != nil {
		return nil, err
	}
	if _, _, err := credential.Generate(n.Prefix); err != nil {
		return nil, badRequest("prefix: %w", err)
	}
	return n, nil
}

// record parses those fields of a body that are a record's, by the rules of records.
func (f fields) record() (*credential.Record, error) {
	members := map[string]any{"access_token": "a", "secret_token": "s", "consumer": "c"}
	for _, name := range append([]string{"enabled"}, recordFields...) {
		if v := f[name]; v != nil {
			members[name] = v
		}
	}
	if d, given := f["description"]; given && d != nil {
		if _, isText := d.(string); !isText {
			return nil, badRequest("description must be text")
		}
	}
	b, err := json.Marshal(members)
	if err != nil {
		return nil, badRequest("the body can't be read")
	}
	r, err := credential.Parse(b)
	if err != nil {
		return nil, &statusError{http.StatusBadRequest, err}
	}
	if len(r.Flaws) > 0 {
		return nil, badRequest("%s", r.Flaws[0].String())
	}
	return r, nil
}

// consumerName is the consumer's name, from the path or else from the body: a string, or
// an object with id or username.
func consumerName(path string, field any) (string, error) {
	switch c := field.(type) {
	case nil:
		if path != "" {
			return path, nil
		}
	case string:
		if path == "" && !strings.HasPrefix(c, "{") {
			return c, nil
		}
		var members map[string]any
		if path == "" && json.Unmarshal([]byte(c), &members) == nil {
			return consumerName("", members)
		}
	case map[string]any:
		for _, name := range []string{"id", "username", "custom_id"} {
			if text, ok := c[name].(string); ok && text != "" && path == "" && len(c) == 1 {
				return text, nil
			}
		}
	}
	return "", badRequest(`consumer must be given once: in the path, or as {"id": "…"} or {"username": "…"}`)
}

// ofKong adds a status to an error of Kong's Admin API.
func ofKong(err error) error {
	if status := statusOf(err); status == http.StatusNotFound || status == http.StatusBadRequest {
		return err
	}
	return &statusError{http.StatusBadGateway, err}
}

// onToken calls f with the credential that the path names.
func (s *Server) onToken(r *request, f func(v *manage.Vault, accessToken string) error) error {
	accessToken := r.PathValue("token")
	if err := credential.CheckAccessToken(accessToken); err != nil {
		return &statusError{http.StatusNotFound, errors.New("no credential can have this access token")}
	}
	return s.with(r, func(v *manage.Vault) error {
		r.change.fingerprint = v.Fingerprint(accessToken)
		return f(v, accessToken)
	})
}

func (s *Server) show(r *request) (int, any, error) {
	var body data
	err := s.onToken(r, func(v *manage.Vault, accessToken string) error {
		e, err := v.Show(r.Context(), accessToken)
		if err == nil {
			body = data{bodyOf(e)}
		}
		return err
	})
	return http.StatusOK, body, err
}

// update changes the fields of a record that the body gives; null removes one.
func (s *Server) update(r *request) (int, any, error) {
	r.change.action = "credential.update"
	f, err := r.body(append([]string{"enabled"}, recordFields...)...)
	if err != nil {
		return 0, nil, err
	}
	given, err := f.record()
	if err != nil {
		return 0, nil, err
	}
	var body data
	err = s.onToken(r, func(v *manage.Vault, accessToken string) error {
		e, err := v.Update(r.Context(), accessToken, func(stored *credential.Record) { f.copyTo(stored, given) })
		if err != nil {
			return err
		}
		s.changed(r, v, accessToken)
		body = data{bodyOf(e)}
		return nil
	})
	return http.StatusOK, body, err
}

// copyTo copies the given fields of a record to the stored one.
func (f fields) copyTo(stored, given *credential.Record) {
	for name := range f {
		switch name {
		case "enabled":
			stored.Disabled = given.Disabled
		case "ttl":
			stored.TTL = given.TTL
		case "groups":
			stored.Groups = slices.Clone(given.Groups)
		case "allowed_ips":
			stored.AllowedIPs = slices.Clone(given.AllowedIPs)
		case "not_before":
			stored.NotBefore = given.NotBefore
		case "expires_at":
			stored.ExpiresAt = given.ExpiresAt
		case "description":
			stored.Description = given.Description
		}
	}
}

// rotate gives a credential another secret token.
func (s *Server) rotate(r *request) (int, any, error) {
	r.change.action = "credential.rotate"
	f, err := r.body("grace", "plain")
	if err != nil {
		return 0, nil, err
	}
	var how manage.Rotation
	if how.Grace, err = f.duration("grace"); err != nil {
		return 0, nil, err
	}
	if err := how.Check(); err != nil {
		return 0, nil, badRequest("grace: %w", err)
	}
	plain, err := f.flag("plain")
	if err != nil {
		return 0, nil, err
	}
	if _, given := f["plain"]; given {
		how.Stored = map[bool]string{true: manage.StoredPlain, false: manage.StoredHash}[plain]
	}
	var body data
	err = s.onToken(r, func(v *manage.Vault, accessToken string) error {
		i, err := v.Rotate(r.Context(), accessToken, how, inAnswer)
		if err != nil {
			return err
		}
		s.changed(r, v, accessToken)
		body = issuedBody(i)
		return nil
	})
	return http.StatusOK, body, err
}

// duration parses a field with a number of seconds, or a length of time such as 7d or 1h.
func (f fields) duration(name string) (time.Duration, error) {
	text, _, err := f.text(name)
	if err != nil || text == "" {
		return 0, err
	}
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, nil
	}
	d, err := manage.ParseSpan(text)
	if err != nil {
		return 0, badRequest("%s must be a number of seconds, or a length of time such as 7d or 1h", name)
	}
	return d, nil
}

func (s *Server) revoke(r *request) (int, any, error) {
	r.change.action = "credential.delete"
	purge, err := r.parameter("purge")
	if err != nil {
		return 0, nil, err
	}
	err = s.onToken(r, func(v *manage.Vault, accessToken string) error {
		if err := v.Revoke(r.Context(), accessToken, purge); err != nil {
			return err
		}
		s.changed(r, v, accessToken)
		return nil
	})
	return http.StatusNoContent, nil, err
}
