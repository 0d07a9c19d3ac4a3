package hashivault

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"

	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// CheckName implements secretstore.Secrets: a server would resolve other names to
// other paths.
func (s *store) CheckName(name string) error {
	for segment := range strings.SplitSeq(name, "/") {
		if segment == "" || segment == "." || segment == ".." {
			return errors.New("the name of a secret in Vault can't have an empty segment, . or .. in it")
		}
	}
	if !utf8.ValidString(name) || len(name) > maxSecretName {
		return fmt.Errorf("the name of a secret must be valid UTF-8 of at most %d bytes", maxSecretName)
	}
	return nil
}

const maxSecretName = 1024

// HoldsCredential implements secretstore.Config: records are directly below path.
func (c *Config) HoldsCredential(other secretstore.Config, name string) bool {
	o, same := other.(*Config)
	if !same || c.address() != o.address() || strings.Trim(c.Namespace, "/ ") != strings.Trim(o.Namespace, "/ ") {
		return false
	}
	records := path.Join(strings.Trim(c.Mount, "/"), strings.Trim(c.Path, "/"))
	below, ok := strings.CutPrefix(path.Join(strings.Trim(o.Mount, "/"), name), records+"/")
	return ok && credential.CheckAccessToken(below) == nil
}

// Secret implements secretstore.Secrets.
func (s *store) Secret(ctx context.Context, name string, v secretstore.Version) (secretstore.Secret, error) {
	if s.closed.Load() {
		return secretstore.Secret{}, closedFailure()
	}
	found, err := s.secretVersion(ctx, name, v)
	s.redial.After(err)
	if err != nil {
		return secretstore.Secret{}, err
	}
	value, err := s.secretValue(found.fields)
	return secretstore.Secret{Value: value, Expires: found.ends}, err
}

func (s *store) secretVersion(ctx context.Context, name string, v secretstore.Version) (*found, error) {
	wanted := secretName{accessToken: "/" + name, version: v.ID}
	if v.ID != "" {
		if n, err := strconv.ParseUint(v.ID, 10, 31); err != nil || n == 0 {
			return nil, absentVersion("versions of KV v2 are whole numbers from 1 on")
		}
	}
	found, err := s.read(ctx, wanted)
	switch {
	case err != nil || v == secretstore.Version{}:
		return found, err
	case found.metadata.Version == 0:
		return nil, absentVersion("a KV v1 engine has no versions")
	case !v.Previous:
		return found, nil
	case found.metadata.Version == 1:
		return nil, absentVersion("it has one version only")
	}
	wanted.version = strconv.Itoa(found.metadata.Version - 1)
	return s.read(ctx, wanted)
}

func absentVersion(why string) error {
	return &secretstore.Absent{Reason: secretstore.ReasonNotFound, Err: errors.New(why)}
}

// secretValue is a secret's fields as they are, or with all strings decoded.
func (s *store) secretValue(fields json.RawMessage) (string, error) {
	if !s.settings.base64 {
		return string(fields), nil
	}
	var values map[string]any
	if err := json.Unmarshal(fields, &values); err != nil {
		return "", unusable(errors.New("its fields are not JSON"))
	}
	for field, value := range values {
		text, isText := value.(string)
		if !isText {
			continue
		}
		decoded, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
		if err != nil {
			return "", unusable(fmt.Errorf("base64_decode is set, and its field %.100q is not base64", field))
		}
		values[field] = string(decoded)
	}
	b, err := json.Marshal(values)
	return string(b), err
}
