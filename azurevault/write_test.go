package azurevault

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/security/keyvault/azsecrets"
	gocmp "github.com/google/go-cmp/cmp"

	"kong-vault-auth/azurevault/akvsim"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/secretstore/storetest"
)

// newWritable is a simulated Azure whose application may write too.
func newWritable(t *testing.T, o akvsim.Options) (azure, writer) {
	t.Helper()
	a := newAzure(t, o)
	a.AddApp(akvsim.App{ClientID: clientID, ObjectID: objectID, Secret: clientSecret, May: akvsim.Get | akvsim.List | akvsim.Set})
	return a, writer{a.open(t, nil)}
}

func TestWriting(t *testing.T) {
	first, second := storetest.Record("alice", "secret-1"), storetest.Record("alice", "secret-2")
	for name, tt := range map[string]struct{ steps, want []string }{
		"create, replace, delete": {
			[]string{"create alice", "get alice", "replace alice", "get alice", "delete alice", "get alice"},
			[]string{"done", first, "done", second, "done", "absent: deleted"},
		},
		"nothing is overwritten": {
			[]string{"create alice", "create alice", "create ALICE", "get alice"},
			[]string{"done", "conflict: exists", "conflict: exists", first},
		},
		"changed meanwhile": {
			[]string{"create alice", "get alice", "replace alice", "replace alice"},
			[]string{"done", first, "done", "conflict: changed"},
		},
		"a deleted name is taken": {
			[]string{"create alice", "delete alice", "create alice", "purge alice", "create alice", "get alice"},
			[]string{"done", "done", "conflict: deleted", "done", "done", first},
		},
		"a recovered secret is disabled until it is replaced": {
			[]string{"create alice", "delete alice", "recover alice", "get alice", "create alice", "replace alice", "get alice"},
			[]string{"done", "done", "done", "disabled", "conflict: exists", "done", second},
		},
		"a name that Azure can't have": {
			[]string{"create al.ice_~", "get al.ice_~", "get al.ice"},
			[]string{"done", storetest.Record("al.ice_~", "secret-1"), "absent: not_found"},
		},
		"nothing there": {
			[]string{"get bob", "replace bob", "delete bob", "recover bob"},
			[]string{"absent: not_found", "absent: not_found", "absent: not_found", "absent: not_found"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, w := newWritable(t, akvsim.Options{})
			if diff := gocmp.Diff(tt.want, storetest.Operate(t, w, nil, tt.steps...)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Key Vault takes some time for deletions, recoveries and purges.
func TestWriterWaitsForKeyVault(t *testing.T) {
	_, w := newWritable(t, akvsim.Options{Slow: 2})
	steps := []string{"create alice", "delete alice", "create alice", "purge alice", "create alice"}
	want := []string{"done", "done", "conflict: deleted", "done", "done"}
	if diff := gocmp.Diff(want, storetest.Operate(t, w, nil, steps...)); diff != "" {
		t.Error(diff)
	}
	steps = []string{"delete alice", "get alice", "get alice", "recover alice", "replace alice"}
	got := storetest.Operate(t, w, nil, steps...)
	if last := got[len(got)-2:]; !slices.Equal(last, []string{"done", "done"}) {
		t.Error(got)
	}
}

func TestRecoveryThatTakesTooLongIsAFailure(t *testing.T) {
	const slow = 50 // requests
	_, w := newWritable(t, akvsim.Options{Slow: slow})
	storetest.Operate(t, w, nil, "create alice", "delete alice")
	for range slow {
		storetest.Operate(t, w, nil, "get alice")
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := w.Recover(ctx, "alice")
	if got := storetest.Said(err); got != "failure: timeout" || !strings.Contains(err.Error(), "it was started and hasn't finished") {
		t.Errorf("%q: %v", got, err)
	}
}

func TestRevokedCredentialIsDisabledWhenItIsRecovered(t *testing.T) {
	a, w := newWritable(t, akvsim.Options{})
	storetest.Operate(t, w, nil, "create alice", "delete alice", "recover alice")
	if got := outcome(a.open(t, nil).Read(t.Context(), "alice")); got != "absent: disabled" {
		t.Errorf("the plugin's store says %q", got)
	}
}

func TestNamesAreThoseOfThePrefix(t *testing.T) {
	a, w := newWritable(t, akvsim.Options{})
	at := time.Unix(1_800_000_000, 0).UTC()
	a.put("Alice", "s", nil)
	a.put("bob", "s", &azsecrets.SecretAttributes{Enabled: to.Ptr(false)})
	for _, name := range []string{"Alice", "bob"} {
		a.Change(prefix+name, "", azsecrets.SecretAttributes{Created: &at, Updated: &at})
	}
	a.put("gone", "s", nil)
	a.Delete(prefix + "gone")
	for i := range 30 {
		a.Put(fmt.Sprintf("others-%d", i), "hunter2", nil)
	}
	var got []secretstore.Name
	err := w.Names(t.Context(), func(page []secretstore.Name) error { got = append(got, page...); return nil })
	want := []secretstore.Name{
		{AccessToken: "Alice", Created: at, Updated: at},
		{AccessToken: "bob", Created: at, Updated: at, Disabled: true},
	}
	if diff := gocmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}

func TestRecordIsWrittenAsItIsRead(t *testing.T) {
	a, w := newWritable(t, akvsim.Options{})
	w.store.cfg.Base64Decode = true
	storetest.Operate(t, w, nil, "create alice")
	reader := a.open(t, func(c *Config) { c.Base64Decode = true })
	if got := outcome(reader.Read(t.Context(), "alice")); got != "found alice secret-1" {
		t.Error(got)
	}
	a.Put(prefix+"alice", base64.StdEncoding.EncodeToString([]byte(recordOf("alice", "s"))), nil)
	if got := storetest.Operate(t, w, nil, "get alice"); got[0] != recordOf("alice", "s") {
		t.Error(got)
	}
}

func TestWritesThatFail(t *testing.T) {
	for name, tt := range map[string]struct {
		do   func(azure)
		want string
		says string
	}{
		"no role": {func(a azure) {
			a.AddApp(akvsim.App{ClientID: clientID, ObjectID: objectID, Secret: clientSecret, May: akvsim.Get})
		}, "failure: denied", `give the principal with object id ` + objectID + ` (client id ` + clientID + `) the role Key Vault Secrets Officer on vault contoso (az role assignment create --role "Key Vault Secrets Officer"`},
		"throttled":            {func(a azure) { a.Fail(akvsim.KeyVault, akvsim.Throttled("3")) }, "failure: rate_limited", ""},
		"a firewall's page":    {func(a azure) { a.Fail(akvsim.KeyVault, akvsim.Fault{Status: 409, Body: "<html>"}) }, "failure: unexpected", ""},
		"another conflict":     {func(a azure) { a.Fail(akvsim.KeyVault, akvsim.VaultError(409, "Conflict", "Other", "")) }, "failure: unexpected", ""},
		"a disabled secret":    {func(a azure) { a.put("alice", "s", &azsecrets.SecretAttributes{Enabled: to.Ptr(false)}) }, "conflict: exists", ""},
		"a load balancer's no": {func(a azure) { a.Fail(akvsim.KeyVault, akvsim.Fault{Status: 404}) }, "failure: unexpected", ""},
	} {
		t.Run(name, func(t *testing.T) {
			a, w := newWritable(t, akvsim.Options{})
			tt.do(a)
			err := w.Create(t.Context(), "alice", []byte(recordOf("alice", "sesame-42")))
			if got := storetest.Said(err); got != tt.want || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%q: %v", got, err)
			}
			for _, secret := range []string{"sesame-42", "alice"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%v names %s", err, secret)
				}
			}
		})
	}
}

// It is refused before it is sent, with a remedy. The largest possible one is accepted.
func TestTooLargeRecordIsRefused(t *testing.T) {
	for _, inBase64 := range []bool{false, true} {
		a, w := newWritable(t, akvsim.Options{})
		w.store.cfg.Base64Decode = inBase64
		largest := maxValue
		if inBase64 {
			largest = maxValue / 4 * 3
		}
		of := func(size int) []byte {
			empty := len(`{"access_token":"alice","description":""}`)
			return fmt.Appendf(nil, `{"access_token":"alice","description":%q}`, strings.Repeat("d", size-empty))
		}
		err := w.Create(t.Context(), "alice", of(largest+1))
		if err == nil || !strings.Contains(err.Error(), "Key Vault keeps at most 25600 in a secret (shorten groups, allowed_ips or description)") {
			t.Errorf("base64 %t: %v", inBase64, err)
		}
		if n := len(a.Values(prefix)); n != 0 {
			t.Errorf("%d secrets are there", n)
		}
		if err := w.Create(t.Context(), "alice", of(largest)); err != nil {
			t.Errorf("base64 %t: the largest: %v", inBase64, err)
		}
	}
}

func TestAccessTokensThatCannotBeNames(t *testing.T) {
	_, w := newWritable(t, akvsim.Options{})
	for accessToken, want := range map[string]string{"al-ice": prefix + "al-ice true", "a_b": secretName(prefix, "a_b") + " false"} {
		name, isToken := w.SecretName(accessToken)
		if got := fmt.Sprint(name, " ", isToken); got != want {
			t.Errorf("%s: %s, want %s", accessToken, got, want)
		}
	}
}

func FuzzDocuments(f *testing.F) {
	f.Add(200, `{"value":"{}","id":"https://contoso.vault.azure.net/secrets/kong-auth-alice/1","attributes":{"enabled":true}}`)
	f.Add(403, `{"error":{"code":"Forbidden","innererror":{"code":"SecretDisabled"}}}`)
	f.Add(404, `{"error":{"code":"SecretNotFound"}}`)
	f.Add(409, `{"error":{"code":"Conflict","innererror":{"code":"ObjectIsDeletedButRecoverable"}}}`)
	f.Fuzz(func(t *testing.T, status int, body string) {
		if status < 100 || status > 999 {
			t.Skip("a status that no HTTP server sends")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		w := writer{answering(t, status, http.Header{}, body)}
		if d, err := w.Get(ctx, "alice"); (d == nil) == (err == nil) || err == nil && status != 200 && !d.Disabled {
			t.Errorf("%v, %v", d, err)
		}
		if err := w.Create(ctx, "alice", []byte("{}")); err == nil {
			t.Error("written where the store says the same to everything")
		}
	})
}
