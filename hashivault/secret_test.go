package hashivault

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/secretstore"
)

func TestSecretsOfReferences(t *testing.T) {
	v := startVault(t)
	v.do("POST", "sys/mounts/plain", fields{"type": "kv"})
	for _, foo := range []string{"first", "second", "third"} {
		v.do("POST", "secret/data/hello", fields{"data": fields{"foo": foo}})
	}
	v.do("POST", "secret/data/once", fields{"data": fields{"foo": "YmFy", "n": 1}})
	v.do("POST", "secret/data/deep/er/one", fields{"data": fields{"foo": "bar"}})
	v.do("POST", "secret/data/gone", fields{"data": fields{"foo": "bar"}})
	v.do("DELETE", "secret/data/gone", nil)
	v.do("POST", "secret/data/hidden", fields{"data": fields{"foo": "bar"}})
	v.do("POST", "plain/hello", fields{"foo": "world"})
	token := v.token(fields{"policies": []string{
		v.policy("secret/data/hello"), v.policy("secret/data/once"), v.policy("secret/data/gone"), v.policy("secret/data/none"),
		v.policy("secret/data/deep/*"), v.policy("plain/*"),
	}})
	open := func(mount, kv string, base64 bool) *store {
		return openAt(t, v.config(func(c *Config) {
			c.Token, c.Mount, c.KV, c.Path, c.Base64Decode = token, mount, kv, "kong-auth", base64
		}), nil).(*store)
	}
	v2, plain, decoding := open("secret", "v2", false), open("plain", "v1", false), open("secret", "", true)
	previous := secretstore.Version{Previous: true}
	for _, tt := range []struct {
		s       *store
		name    string
		version secretstore.Version
		want    string
	}{
		{v2, "hello", secretstore.Version{}, `{"foo":"third"}`},
		{v2, "hello", previous, `{"foo":"second"}`},
		{v2, "hello", secretstore.Version{ID: "1"}, `{"foo":"first"}`},
		{v2, "hello", secretstore.Version{ID: "9"}, "absent: not_found"},
		{v2, "hello", secretstore.Version{ID: "0"}, "absent: not_found: versions of KV v2 are whole numbers from 1 on"},
		{v2, "once", previous, "absent: not_found: it has one version only"},
		{v2, "deep/er/one", secretstore.Version{}, `{"foo":"bar"}`},
		{v2, "none", secretstore.Version{}, "absent: not_found"},
		{v2, "gone", secretstore.Version{}, "absent: deleted"},
		{v2, "hidden", secretstore.Version{}, "absent: denied"}, // hello could be read just before
		{plain, "hello", secretstore.Version{}, `{"foo":"world"}`},
		{plain, "hello", previous, "absent: not_found: a KV v1 engine has no versions"},
		{decoding, "once", secretstore.Version{}, `{"foo":"bar","n":1}`},
		{decoding, "hello", secretstore.Version{}, `absent: unusable: base64_decode is set, and its field "foo" is not base64`},
	} {
		got, err := tt.s.Secret(t.Context(), tt.name, tt.version)
		said := got.Value
		if err != nil {
			said = "failure: " + err.Error()
			if absent := (*secretstore.Absent)(nil); errors.As(err, &absent) {
				said = "absent: " + absent.Error()
			}
		}
		if diff := cmp.Diff(tt.want, said); diff != "" {
			t.Errorf("%s %v:\n%s", tt.name, tt.version, diff)
		}
	}
	_, err := open("secret", "v2", false).Secret(t.Context(), "hidden", secretstore.Version{})
	var f *secretstore.Failure
	if !errors.As(err, &f) || f.Reason != secretstore.Denied || f.Op != "read secret/data/hidden" ||
		!strings.Contains(f.Remedy, `path "secret/data/hidden" { capabilities = ["read"] }`) {
		t.Errorf("denied, and nothing known of the login: %v", err)
	}
}

func TestNamesOfSecrets(t *testing.T) {
	s := &store{}
	for name, ok := range map[string]bool{
		"hello": true, "path/to/one": true, "with space": true, "ü": true,
		"": false, "/a": false, "a/": false, "a//b": false, "../a": false, "a/.": false, "\xff": false, strings.Repeat("x", 1025): false,
	} {
		if err := s.CheckName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestWhereCredentialsAreKept(t *testing.T) {
	at := func(mount, path string) *Config {
		return &Config{Protocol: "http", Host: "vault", Port: 8200, Mount: mount, Path: path}
	}
	for _, tt := range []struct {
		object *Config
		other  *Config
		name   string
		want   bool
	}{
		{at("secret", "kong-auth"), at("secret", ""), "kong-auth/x", true},
		{at("secret", "/kong-auth/"), at("/secret/", "elsewhere"), "kong-auth/x", true},
		{at("secret", "kong-auth"), at("secret", ""), "kong-auth/deeper/x", false},
		{at("secret", "kong-auth"), at("secret", ""), "kong-auth", false},
		{at("secret", "kong-auth"), at("secret", ""), "pg", false},
		{at("secret", "kong-auth"), at("other", ""), "kong-auth/x", false},
		{at("secret", ""), at("secret", ""), "x", true},
		{at("secret", ""), at("secret", ""), "deeper/x", false},
		{at("team/kv", "kong-auth"), at("team", ""), "kv/kong-auth/x", true},
	} {
		if got := tt.object.HoldsCredential(tt.other, tt.name); got != tt.want {
			t.Errorf("%s/%s, %s/%s: %v", tt.object.Mount, tt.object.Path, tt.other.Mount, tt.name, got)
		}
	}
	elsewhere := at("secret", "kong-auth")
	elsewhere.Namespace = "team"
	if at("secret", "kong-auth").HoldsCredential(elsewhere, "kong-auth/x") {
		t.Error("another namespace's")
	}
}
