package hashivault

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// found is a secret that was read.
type found struct {
	fields   json.RawMessage // the secret's own, an object
	metadata versionMetadata // of KV v2
	ends     time.Time       // when it will be deleted, the zero time if never
}

// outcome interprets the answer to the read of one secret. A negative answer requires
// Vault's explicit statement:
//
//   - 404 with exactly {"errors":[]}: there is no such secret;
//   - KV v2, 404 with the metadata of a version that was deleted or destroyed.
//
// Other answers look like absence but are failures: a mount that has moved (404 "no
// handler for route"), the path of the other KV version (404 with a warning and
// null data), an empty or HTML answer from a proxy.
func (s *store) outcome(a *answer, name secretName, kv string) (*found, error) {
	op := "read " + name.shown
	r, isVault := a.decode()
	switch a.status {
	case http.StatusOK:
		if a.truncated && a.startsLikeVaults() {
			return nil, unusable(&credential.UnusableError{Reason: "size", Detail: fmt.Sprintf("the secret is larger than %d bytes", credential.MaxRecord), Remedy: "keep other data elsewhere"})
		}
		fields, metadata := secretData(r.Data, kv)
		end, err := metadata.end()
		switch {
		case isVault && isObject(fields) && err == nil:
			return &found{fields, metadata, end}, nil
		case isVault && !isObject(fields) && metadata.gone():
			return nil, &secretstore.Absent{Reason: secretstore.ReasonDeleted}
		}
		return nil, &secretstore.Failure{Op: op, Reason: "unexpected", Remedy: remedyNotVault, OneName: true,
			Err: fmt.Errorf("%w: status 200 without a secret's data, content type %.60q", errNotVault, a.header.Get("Content-Type"))}
	case http.StatusNotFound:
		if isPlainNotFound(a.body) {
			return nil, &secretstore.Absent{Reason: secretstore.ReasonNotFound}
		}
		if record, metadata := secretData(r.Data, kv); isVault && !isObject(record) && metadata.gone() {
			return nil, &secretstore.Absent{Reason: secretstore.ReasonDeleted}
		}
		return nil, s.wrongPath(a, r, op, name.redact, kv)
	}
	return nil, a.readFailure(op, name.redact)
}

// isPlainNotFound reports whether this is the body of the only 404 that says no secret
// has that name.
func isPlainNotFound(body []byte) bool {
	var compact bytes.Buffer
	return json.Compact(&compact, body) == nil && compact.String() == `{"errors":[]}`
}

// wrongPath is a 404 that concerns the mount or the KV version, not the secret.
func (s *store) wrongPath(a *answer, r reply, op string, redact func(string) string, kv string) *secretstore.Failure {
	f := a.readFailure(op, redact)
	said := strings.Join(append(r.Errors, r.Warnings...), "; ")
	switch {
	case strings.Contains(said, "no handler for route"):
		f.Reason, f.OneName = "mount", false
		f.Err = fmt.Errorf("nothing is mounted at %s/", s.settings.mount)
		f.Remedy = "check mount and namespace against: vault secrets list"
	case kv == kv1 && strings.Contains(said, "versioned K/V"):
		f.Reason, f.OneName = "kv_version", false
		f.Err = fmt.Errorf("the secrets engine at %s/ is KV v2, read as v1", s.settings.mount)
		f.Remedy = "set kv to v2, or leave it out so that the plugin asks Vault"
	}
	return f
}

// versionMetadata is what KV v2 reports about a version in addition to its data. It is
// zero for a secret of KV v1, and where KV v2 has never had a version.
type versionMetadata struct {
	Version int `json:"version"`
	// DeletionTime is when the version was deleted or, with delete_version_after,
	// will be; empty: neither.
	DeletionTime string `json:"deletion_time"`
	Destroyed    bool   `json:"destroyed"`
	CreatedTime  string `json:"created_time"`
}

// end is when the version will be deleted, the zero time if never.
func (m versionMetadata) end() (time.Time, error) {
	if m.DeletionTime == "" {
		return time.Time{}, nil
	}
	return time.Parse(time.RFC3339, m.DeletionTime)
}

func (m versionMetadata) gone() bool { return m.DeletionTime != "" || m.Destroyed }

// secretData extracts the secret's own fields from an answer's data.
func secretData(data json.RawMessage, kv string) (fields json.RawMessage, metadata versionMetadata) {
	if kv == kv1 {
		return data, versionMetadata{}
	}
	var v2 struct {
		Data     json.RawMessage `json:"data"`
		Metadata versionMetadata `json:"metadata"`
	}
	if json.Unmarshal(data, &v2) != nil {
		return nil, versionMetadata{}
	}
	return v2.Data, v2.Metadata
}

func isObject(b json.RawMessage) bool { return bytes.HasPrefix(bytes.TrimSpace(b), []byte("{")) }

// startsLikeVaults reports whether the body begins as Vault's answers do.
func (a *answer) startsLikeVaults() bool {
	return bytes.HasPrefix(bytes.TrimSpace(a.body), []byte(`{"request_id":`))
}

func unusable(err error) *secretstore.Absent {
	return &secretstore.Absent{Reason: secretstore.ReasonUnusable, Err: err}
}

// parse reads a secret's fields as a record. The record expires with the secret.
func (s *store) parse(found *found, accessToken string) (*credential.Record, error) {
	parse := credential.Parse
	if s.settings.base64 {
		parse = credential.ParseBase64
	}
	r, err := parse(found.fields)
	if err != nil {
		return nil, unusable(err)
	}
	// Vault's paths are exact, but another engine or a proxy may treat them otherwise.
	if r.AccessToken != accessToken {
		return nil, unusable(&credential.UnusableError{
			Reason: "access_token",
			Detail: "it is not the name the record is stored under",
			Remedy: "store the record under its access_token",
		})
	}
	if end := found.ends; !end.IsZero() && (r.ExpiresAt.IsZero() || end.Before(r.ExpiresAt)) {
		r.ExpiresAt = end
	}
	return r, nil
}
