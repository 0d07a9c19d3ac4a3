package hashivault

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"kong-vault-auth/secretstore"
	"kong-vault-auth/secretstore/storetest"
)

// writable is a real Vault with an engine of either version, and a token with the
// policies that the documents name for managers.
func writable(t *testing.T) (v *realVault, open func(kv string) secretstore.Writer) {
	t.Helper()
	v = startVault(t)
	v.do("POST", "sys/mounts/plain", fields{"type": "kv"})
	v.do("PUT", "sys/policies/acl/manager", fields{"policy": `
		path "secret/data/kong-auth/*"     { capabilities = ["create", "update", "read", "delete"] }
		path "secret/metadata/kong-auth/*" { capabilities = ["list", "delete"] }
		path "secret/metadata/kong-auth"   { capabilities = ["list"] }
		path "plain/kong-auth/*"           { capabilities = ["create", "update", "read", "delete", "list"] }
		path "plain/kong-auth"             { capabilities = ["list"] }`})
	token := v.token(fields{"policies": []string{"manager"}})
	return v, func(kv string) secretstore.Writer {
		cfg := v.config(func(c *Config) { c.Token, c.KV = token, kv })
		if kv == kv1 {
			cfg.Mount = "plain"
		}
		w, err := OpenWriter(cfg, options(nil))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.Close() })
		return w
	}
}

// others is what somebody else does meanwhile.
func others(v *realVault) map[string]func(string) {
	return map[string]func(string){"soft-delete": func(accessToken string) { v.do("DELETE", "secret/data/kong-auth/"+accessToken, nil) }}
}

func TestWriting(t *testing.T) {
	v, open := writable(t)
	// A record's fields come back in the order of their names.
	first, second := storetest.Record("X", "secret-1"), storetest.Record("X", "secret-2")
	for name, tt := range map[string]struct {
		kvs         []string
		steps, want []string
	}{
		"create, replace, delete": {
			[]string{kv1, kv2, ""},
			[]string{"create X", "get X", "replace X", "get X", "delete X", "get X", "create X", "get X"},
			[]string{"done", first, "done", second, "done", "absent: not_found", "done", first},
		},
		"nothing is overwritten": {
			[]string{kv1, kv2, ""},
			[]string{"create X", "create X", "get X"},
			[]string{"done", "conflict: exists", first},
		},
		"changed meanwhile": {
			[]string{kv1, kv2},
			[]string{"create X", "get X", "replace X", "replace X"},
			[]string{"done", first, "done", "conflict: changed"},
		},
		"a deleted version is in the way": {
			[]string{kv2},
			[]string{"create X", "soft-delete X", "get X", "create X", "purge X", "create X", "get X", "purge X"},
			[]string{"done", "absent: deleted", "conflict: deleted", "done", "done", first, "conflict: exists"},
		},
		"a deleted version is followed by another": {
			[]string{kv2},
			[]string{"create X", "recover X", "soft-delete X", "recover X", "replace X", "get X"},
			[]string{"done", "conflict: exists", "done", "done", second},
		},
		"nothing there": {
			[]string{kv1, kv2},
			[]string{"get X", "recover X", "purge X"},
			[]string{"absent: not_found", "absent: not_found", "absent: not_found"},
		},
		"no such name is possible": {
			[]string{kv1, kv2},
			[]string{"get ..", "create a/b", "delete a/b"},
			[]string{"absent: not_found", "absent: not_found", "absent: not_found"},
		},
	} {
		for _, kv := range tt.kvs {
			t.Run(name+", "+kv, func(t *testing.T) {
				token := strings.NewReplacer(" ", "-", ",", "").Replace(name) + kv
				of := func(lines []string) (out []string) {
					for _, l := range lines {
						out = append(out, strings.NewReplacer(" X", " "+token, `"X"`, `"`+token+`"`).Replace(l))
					}
					return out
				}
				if diff := gocmp.Diff(of(tt.want), storetest.Operate(t, open(kv), others(v), of(tt.steps)...)); diff != "" {
					t.Error(diff)
				}
			})
		}
	}
}

func TestNames(t *testing.T) {
	v, open := writable(t)
	for _, kv := range []string{kv1, kv2} {
		w := open(kv)
		storetest.Operate(t, w, others(v), "create alice", "create bob", "create carol", "delete carol")
		if kv == kv2 {
			storetest.Operate(t, w, others(v), "create dave", "soft-delete dave")
		}
		var got []string
		err := w.Names(t.Context(), func(page []secretstore.Name) error {
			for _, n := range page {
				got = append(got, n.AccessToken)
			}
			return nil
		})
		slices.Sort(got)
		if diff := gocmp.Diff([]string{"alice", "bob"}, got); diff != "" || err != nil {
			t.Errorf("%s: %v %s", kv, err, diff)
		}
		if checked, err := w.Checked(t.Context()); checked != (kv == kv2) || err != nil {
			t.Errorf("%s: checked %v, %v", kv, checked, err)
		}
	}
}

// Somebody else writes between a writer's read and its write. KV v2 notices that.
func TestLostRace(t *testing.T) {
	v, open := writable(t)
	w := open(kv2)
	storetest.Operate(t, w, others(v), "create alice")
	d, err := w.Get(t.Context(), "alice")
	if err != nil {
		t.Fatal(err)
	}
	v.put("alice")
	if got := storetest.Said(w.Replace(t.Context(), "alice", []byte("{}"), d.Version)); got != "conflict: changed" {
		t.Error(got)
	}
	if got := storetest.Operate(t, w, others(v), "get alice"); strings.Contains(got[0], "{}") {
		t.Error("it was overwritten")
	}
}

func TestWrappedSecretIsUnwrappedOnce(t *testing.T) {
	v, open := writable(t)
	token, err := open(kv2).(secretstore.Wrapper).Wrap(t.Context(), fields{"secret_token": "sesame"}, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	got := v.do("POST", "sys/wrapping/unwrap", fields{"token": token})["data"]
	if diff := gocmp.Diff(fields{"secret_token": "sesame"}, got); diff != "" {
		t.Error(diff)
	}
	req, _ := http.NewRequestWithContext(t.Context(), "POST", v.Addr+"/v1/sys/wrapping/unwrap", strings.NewReader(`{"token":"`+token+`"}`))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode == 200 {
		t.Error("it is unwrapped twice")
	}
}

func TestWritesThatAreRefused(t *testing.T) {
	v, _ := writable(t)
	v.do("POST", "secret/data/kong-auth/alice", fields{"data": fields{"access_token": "alice"}})
	reader := v.token(nil)
	revoked := v.token(nil)
	v.do("POST", "auth/token/revoke", fields{"token": revoked})
	place := "secret/data/kong-auth/" + fingerprint("alice")
	for name, tt := range map[string]struct {
		token string
		do    func(secretstore.Writer) error
		want  string
	}{
		"create": {reader, func(w secretstore.Writer) error {
			return w.Create(t.Context(), "alice", []byte(storetest.Record("alice", "sesame-42")))
		},
			"create " + place + ": status 403: the token (policies default, read-secret-data-kong-auth-; expires in *) lacks the capability create and update on it " +
				`(add to one of its policies: path "secret/data/kong-auth/*" { capabilities = ["create", "update"] })`},
		"delete": {reader, func(w secretstore.Writer) error { return w.Delete(t.Context(), "alice") },
			"delete secret/metadata/kong-auth/" + fingerprint("alice") + ": status 403: the token (policies default, read-secret-data-kong-auth-; expires in *) lacks the capability delete on it " +
				`(add to one of its policies: path "secret/metadata/kong-auth/*" { capabilities = ["delete"] })`},
		"revoked token": {revoked, func(w secretstore.Writer) error { _, err := w.Get(t.Context(), "alice"); return err },
			"read " + place + ": the Vault token is refused: it has expired or was revoked (log in again: vault login, or renew the token in VAULT_TOKEN, --token-file or VAULT_AUTH_WRITE_FILE)"},
	} {
		t.Run(name, func(t *testing.T) {
			w, err := OpenWriter(v.config(func(c *Config) { c.Token = tt.token }), options(nil))
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			if err := tt.do(w); err == nil || !matches(tt.want, err.Error()) {
				t.Error(gocmp.Diff(tt.want, fmt.Sprint(err)))
			}
		})
	}
}

// breaking loses the connection at each write.
type breaking struct {
	inProcess
	writes *int
}

func (b breaking) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodPost {
		*b.writes++
		return nil, io.ErrUnexpectedEOF
	}
	return b.inProcess.RoundTrip(req)
}

// It is not known whether such a write was made.
func TestWriteWithoutAnswerIsNotRepeated(t *testing.T) {
	checked, err := checkedSettings(config(nil), options(nil))
	if err != nil {
		t.Fatal(err)
	}
	writes := 0
	s, err := open(checked, options(nil), breaking{inProcess{newFakeVault()}, &writes})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	err = writer{s}.Create(t.Context(), "alice", []byte(storetest.Record("alice", "sesame-42")))
	if writes != 1 || storetest.Said(err) != "failure: network" || !strings.Contains(err.Error(), "it isn't known whether Vault did it") || strings.Contains(err.Error(), "sesame-42") {
		t.Errorf("%d writes, %v", writes, err)
	}
}

func TestOperatorsLogin(t *testing.T) {
	home := t.TempDir()
	for name, tt := range map[string]struct {
		env     map[string]string
		file    string
		saved   bool // ~/.vault-token
		want    Config
		problem string
	}{
		"a file of the command line": {map[string]string{"VAULT_TOKEN": "t"}, "/f", true, Config{TokenFile: "/f"}, ""},
		"VAULT_TOKEN":                {map[string]string{"VAULT_TOKEN": "t"}, "", true, Config{Token: "t"}, ""},
		"vault login":                {nil, "", true, Config{TokenFile: home + "/.vault-token"}, ""},
		"none":                       {nil, "", false, Config{}, "you have no Vault token: run vault login, set VAULT_TOKEN"},
	} {
		t.Run(name, func(t *testing.T) {
			_ = os.Remove(home + "/.vault-token")
			if tt.saved {
				if err := os.WriteFile(home+"/.vault-token", []byte("s"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			getenv := func(name string) string {
				if name == "HOME" {
					return home
				}
				return tt.env[name]
			}
			var c Config
			err := c.operator(secretstore.Operator{TokenFile: tt.file, Getenv: getenv})
			if diff := gocmp.Diff(tt.want, c); diff != "" || (err != nil) != (tt.problem != "") || err != nil && !strings.HasPrefix(err.Error(), tt.problem) {
				t.Errorf("%v %s", err, diff)
			}
		})
	}
}

func FuzzDocuments(f *testing.F) {
	f.Add(200, `{"request_id":"1","data":{"data":{"a":"b"},"metadata":{"version":3,"created_time":"2026-01-01T00:00:00Z"}}}`)
	f.Add(404, `{"request_id":"1","data":{"data":null,"metadata":{"version":3,"deletion_time":"2026-01-01T00:00:00Z"}}}`)
	f.Add(404, `{"errors":[]}`)
	f.Add(400, `{"errors":["check-and-set parameter did not match the current version"]}`)
	f.Add(403, `{"errors":["permission denied"]}`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 200 || status > 999 {
			t.Skip("no final status")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		w := writer{openOn(t, config(nil), nil, canned(status, body))}
		d, err := w.Get(ctx, "alice")
		if (d == nil) == (err == nil) || err == nil && status != 200 {
			t.Errorf("%v, %v", d, err)
		}
		if err := w.Create(ctx, "alice", []byte("{}")); (err == nil) != (status < 300) {
			t.Errorf("status %d: %v", status, err)
		}
		var u *url.Error
		if errors.As(err, &u) {
			t.Errorf("an error holds a URL: %v", err)
		}
	})
}
