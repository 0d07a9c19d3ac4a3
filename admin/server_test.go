package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kong-vault-auth/secretstore"
)

func decode(t *testing.T, text string) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// An answer has the fields that Kong Enterprise shows.
func TestVaultObjectIsShownWithoutItsSecrets(t *testing.T) {
	e := newEnv(t)
	created := decode(t, e.must(201, "POST", "/vault-auth", kongAuth))
	want := map[string]any{
		"id": created["id"], "name": "kong-auth", "kind": "hcv", "protocol": "http", "host": "127.0.0.1", "port": 8200.0,
		"mount": "kong-auth", "kv": "v1", "created_at": 1.79e9, "updated_at": 1.79e9,
	}
	if diff := cmp.Diff(want, created); diff != "" {
		t.Error(diff)
	}
	id, _ := created["id"].(string)
	for _, path := range []string{"/vault-auth/kong-auth", "/vaults/" + id} {
		if diff := cmp.Diff(want, decode(t, e.must(200, "GET", path, ""))); diff != "" {
			t.Errorf("%s: %s", path, diff)
		}
	}
	if diff := cmp.Diff(map[string]any{"data": []any{want}, "next": nil}, decode(t, e.must(200, "GET", "/vault-auth", ""))); diff != "" {
		t.Error(diff)
	}
	if b, _ := os.ReadFile(e.file); !strings.Contains(string(b), pluginToken) {
		t.Error("the token is not in the file")
	}
	e.must(400, "PATCH", "/vault-auth/kong-auth", `{"name":"other"}`)
	e.must(400, "PATCH", "/vault-auth/kong-auth", `{"kind":"azure"}`)
	e.must(400, "PATCH", "/vault-auth/kong-auth", `{"prot":"https"}`)
	e.must(400, "POST", "/vault-auth", `{"name":"two","token":"a","vault_token":"b"}`)
	patched := decode(t, e.must(200, "PATCH", "/vault-auth/kong-auth", `{"description":"d","kv":null,"token":"{vault://env/TOKEN}"}`))
	want["description"], want["token"] = "d", "{vault://env/TOKEN}"
	delete(want, "kv")
	if diff := cmp.Diff(want, patched); diff != "" {
		t.Error(diff)
	}
}

// The forms of a body mean the same.
func TestBodiesMayBeJSONOrForms(t *testing.T) {
	var multi bytes.Buffer
	w := multipart.NewWriter(&multi)
	for _, f := range [][2]string{{"access_token", "one"}, {"consumer[id]", consumerID}, {"ttl", "60"}, {"groups[]", "gold"}, {"groups[]", "reports"}} {
		if err := w.WriteField(f[0], f[1]); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	var got []map[string]any
	for contentType, body := range map[string]string{
		"application/json":                  `{"access_token":"one","consumer":{"id":"` + consumerID + `"},"ttl":60,"groups":["gold","reports"]}`,
		"application/x-www-form-urlencoded": "access_token=one&consumer.id=" + consumerID + "&ttl=60&groups=gold,reports",
		w.FormDataContentType():             multi.String(),
	} {
		e := newEnv(t)
		e.must(201, "POST", "/vault-auth", kongAuth)
		r := e.sendAs(contentType, "POST", "/vault-auth/kong-auth/credentials", body)
		if r.Code != 201 {
			t.Fatalf("%s: %d %s", contentType, r.Code, r.Body)
		}
		data, _ := decode(t, r.Body.String())["data"].(map[string]any)
		if s, _ := data["secret_token"].(string); len(s) != 32 {
			t.Errorf("%s: secret_token %q", contentType, s)
		}
		delete(data, "secret_token")
		got = append(got, data)
	}
	want := map[string]any{
		"access_token": "one", "consumer": map[string]any{"id": consumerID}, "created_at": 1.79e9, "updated_at": 1.79e9, "ttl": 60.0,
		"fingerprint": got[0]["fingerprint"], "stored": "hash", "enabled": true, "groups": []any{"gold", "reports"}, "created_by": "uid:7",
	}
	for _, g := range got {
		if diff := cmp.Diff(want, g); diff != "" {
			t.Error(diff)
		}
	}
}

// A request with an invalid body changes nothing.
func TestInvalidBodiesAreExplained(t *testing.T) {
	e := newEnv(t)
	e.must(201, "POST", "/vault-auth", kongAuth)
	const json, form = "application/json", "application/x-www-form-urlencoded"
	for _, tt := range []struct {
		contentType, body, want string
		status                  int
	}{
		{json, `{`, "not a JSON object", 400},
		{json, `[]`, "not a JSON object", 400},
		{json, `{} {}`, "not a JSON object", 400},
		{json, `null`, "not a JSON object", 400},
		{json, `{"secret_token":"mine"}`, `"secret_token" is not a field here`, 400},
		{json, `{}`, "consumer must be given once", 400},
		{json, `{"consumer":{}}`, "consumer must be given once", 400},
		{json, `{"consumer":{"id":"a","username":"b"}}`, "consumer must be given once", 400},
		{json, `{"consumer":7}`, "consumer must be given once", 400},
		{json, `{"consumer":"alex","access_token":"../x"}`, "access_token", 400},
		{json, `{"consumer":"alex","access_token":["a"]}`, "access_token must be a single value", 400},
		{json, `{"consumer":"alex","ttl":"soon"}`, "ttl", 400},
		{json, `{"consumer":"alex","groups":[1]}`, "groups", 400},
		{json, `{"consumer":"alex","allowed_ips":"everywhere"}`, "allowed_ips", 400},
		{json, `{"consumer":"alex","expires_at":"tomorrow"}`, "expires_at", 400},
		{json, `{"consumer":"alex","description":{}}`, "description must be text", 400},
		{json, `{"consumer":"alex","plain":"perhaps"}`, "plain: it must be true or false", 400},
		{json, `{"consumer":"alex","prefix":"a b"}`, "prefix", 400},
		{form, "consumer=%zz", "can't be read", 400},
		{form, "consumer=alex&unknown=1", "not a field here", 400},
		{"text/plain", "consumer=alex", "must be application/json", 415},
		{"", "consumer=alex", "must be application/json", 415},
		{";", "consumer=alex", "must be application/json", 415},
		{json, `{"description":"` + strings.Repeat("a", maxBody) + `"}`, "too large", 413},
		{form, `description=` + strings.Repeat("a", maxBody), "too large", 413},
	} {
		w := e.sendAs(tt.contentType, "POST", "/vault-auth/kong-auth/credentials", tt.body)
		if w.Code != tt.status || !strings.Contains(w.Body.String(), strings.ReplaceAll(tt.want, `"`, `\"`)) {
			t.Errorf("%s %.60s: %d %s", tt.contentType, tt.body, w.Code, w.Body)
		}
	}
	if n := len(e.store.documents); n != 0 {
		t.Errorf("%d credentials are written", n)
	}
}

func TestOtherPathsAndMethods(t *testing.T) {
	e := newEnv(t)
	e.must(404, "GET", "/", "")
	e.must(404, "GET", "/services", "")
	w := e.send("PATCH", "/vault-auth", "")
	if w.Code != 405 || w.Header().Get("Allow") != "GET, POST" {
		t.Errorf("%d, Allow: %s", w.Code, w.Header().Get("Allow"))
	}
}

// next is the path of the next page.
func TestListIsPagedByOffset(t *testing.T) {
	e := newEnv(t)
	e.must(201, "POST", "/vault-auth", kongAuth)
	for _, name := range []string{"a", "b", "c"} {
		e.must(201, "POST", "/vault-auth/kong-auth/credentials/alex", `{"access_token":"`+name+`"}`)
	}
	var got []string
	path := "/vault-auth/kong-auth/credentials?size=2"
	for range 3 {
		page := decode(t, e.must(200, "GET", path, ""))
		for _, c := range page["data"].([]any) {
			c := c.(map[string]any)
			if c["secret_token"] != nil {
				t.Error("a list shows a secret token")
			}
			got = append(got, c["access_token"].(string))
		}
		next, more := page["next"].(string)
		if !more {
			break
		}
		path = next
	}
	if diff := cmp.Diff([]string{"a", "b", "c"}, got); diff != "" {
		t.Error(diff)
	}
	e.must(400, "GET", "/vault-auth/kong-auth/credentials?offset=%21", "")
}

// A plugin configuration or a credential may use an object.
func TestObjectInUseIsNotDeleted(t *testing.T) {
	e := newEnv(t)
	e.must(201, "POST", "/vault-auth", strings.ReplaceAll(kongAuth, "kong-auth", "in-use"))
	e.must(201, "POST", "/vault-auth", kongAuth)
	if said := e.must(409, "DELETE", "/vault-auth/in-use", ""); !strings.Contains(said, "0dc6f45b-8f8d-40d2-a504-473544ee190b") {
		t.Error(said)
	}
	e.must(201, "POST", "/vault-auth/kong-auth/credentials/alex", "")
	if said := e.must(409, "DELETE", "/vault-auth/kong-auth", ""); !strings.Contains(said, "force=true") {
		t.Error(said)
	}
	clear(e.store.documents)
	e.must(204, "DELETE", "/vault-auth/kong-auth", "")
	e.must(204, "DELETE", "/vault-auth/in-use?force=true", "")
}

// failingWriter is a full disk, as long as it fails.
type failingWriter struct {
	bytes.Buffer
	fails bool
}

func (w *failingWriter) Write(b []byte) (int, error) {
	if w.fails {
		return 0, errors.New("no space left on device")
	}
	return w.Buffer.Write(b)
}

// No line has a secret or a token, and a change that can't be recorded is not made.
func TestAuditHasALineForEachChange(t *testing.T) {
	e := newEnv(t)
	audit := &failingWriter{}
	e.server.Audit = audit
	e.h, _ = e.server.mux()
	e.must(201, "POST", "/vault-auth", kongAuth)
	e.must(200, "GET", "/vault-auth", "")
	e.must(201, "POST", "/vault-auth/kong-auth/credentials/alex", `{"access_token":"the-access-token"}`)
	e.must(200, "PATCH", pathOf("the-access-token"), `{"ttl":1}`)
	e.must(200, "POST", pathOf("the-access-token")+"/rotate", "")
	e.must(204, "DELETE", pathOf("the-access-token"), "")
	e.must(404, "DELETE", pathOf("the-access-token"), "")
	e.must(400, "PATCH", "/vault-auth/kong-auth", `{"port":"x"}`)
	e.must(204, "DELETE", "/vault-auth/kong-auth", "")
	var got []string
	for line := range strings.Lines(audit.String()) {
		m := decode(t, line)
		if m["who"] != "uid:7" || m["time"] == nil {
			t.Error(line)
		}
		s := strings.Trim(strings.Join([]string{m["msg"].(string), m["vault"].(string), m["fingerprint"].(string)}, " "), " ")
		got = append(got, s+" "+string(jsonOf(m["status"])))
	}
	const of = " kong-auth e0225be17748 "
	want := []string{
		"vault.create kong-auth 201", "credential.create" + of + "201", "credential.update" + of + "200", "credential.rotate" + of + "200",
		"credential.delete" + of + "204", "credential.delete" + of + "404", "vault.update kong-auth 400", "vault.delete kong-auth 204",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for _, secret := range []string{"the-access-token", pluginToken, operatorToken} {
		if strings.Contains(audit.String()+e.log.String(), secret) {
			t.Errorf("%s is in a log", secret)
		}
	}

	audit.fails = true
	e.must(201, "POST", "/vault-auth", kongAuth) // nobody knew yet
	e.must(503, "DELETE", "/vault-auth/kong-auth?force=true", "")
	e.must(200, "GET", "/vault-auth/kong-auth", "")
	audit.fails = false
	e.must(503, "DELETE", "/vault-auth/kong-auth?force=true", "")
	e.must(204, "DELETE", "/vault-auth/kong-auth?force=true", "")
}

// The audit line has what the client sent if that can be a name.
func TestAuditNamesTheVaultOfEarlyRefusals(t *testing.T) {
	e := newEnv(t)
	id := decode(t, e.must(201, "POST", "/vault-auth", kongAuth))["id"].(string)
	for _, tt := range []struct {
		status             int
		method, path, body string
		want               string
	}{
		{400, "POST", "/vault-auth/kong-auth/credentials/alex", `{"ttl":"soon"}`, "credential.create kong-auth"},
		{400, "POST", "/vault-auth/" + id + "/credentials/alex", `{`, "credential.create kong-auth"},
		{404, "DELETE", "/vault-auth/kong-auth/credentials/token/a%20b", "", "credential.delete kong-auth"},
		{400, "POST", "/vault-auth/kong-auth/credentials/token/one/rotate", `{"grace":"8d"}`, "credential.rotate kong-auth"},
		{400, "DELETE", "/vault-auth/kong-auth?force=perhaps", "", "vault.delete kong-auth"},
		{404, "POST", "/vault-auth/none/credentials/alex", "", "credential.create none"},
		{404, "PATCH", "/vault-auth/none", `{}`, "vault.update none"},
		{404, "DELETE", "/vault-auth/hvs.CAESIJ/credentials/token/one", "", "credential.delete "},
		{404, "DELETE", "/vault-auth/" + strings.Repeat("a", 65), "", "vault.delete "},
		{400, "POST", "/vault-auth", `{"name":"another","hots":"x"}`, "vault.create another"},
		{400, "POST", "/vault-auth", `{"name":"hvs.CAESIJ","host":"x"}`, "vault.create "},
		{400, "PUT", "/vault-auth/another", `{"name":"third"}`, "vault.create another"},
	} {
		e.audit.Reset()
		e.must(tt.status, tt.method, tt.path, tt.body)
		m := decode(t, e.audit.String())
		if got := fmt.Sprint(m["msg"], " ", m["vault"]); got != tt.want {
			t.Errorf("%s %s: %q, want %q", tt.method, tt.path, got, tt.want)
		}
	}
}

func jsonOf(v any) []byte {
	b, _ := json.Marshal(v)
	return b
}

// The answer has the failure of the store and its remedy, without a secret.
func TestAnswersSayWhatFailedAndTheRemedy(t *testing.T) {
	e := newEnv(t)
	e.must(201, "POST", "/vault-auth", kongAuth)
	e.store.err = storeErrors[403]
	if said := e.must(403, "GET", pathOf("one"), ""); !strings.Contains(said, "give it the manager's policy") {
		t.Error(said)
	}
	e.store.err = &secretstore.Absent{Reason: secretstore.ReasonDenied}
	e.must(403, "GET", pathOf("one"), "")
	e.store.err = errors.New("a mistake")
	e.must(500, "GET", pathOf("one"), "")
}

// The grace may be in days, as in the command, or a number of seconds.
func TestGraceIsReadAsTheCommandReadsIt(t *testing.T) {
	e := newEnv(t)
	e.must(201, "POST", "/vault-auth", kongAuth)
	e.must(201, "POST", "/vault-auth/kong-auth/credentials/alex", `{"access_token":"one"}`)
	for grace, want := range map[string]time.Duration{
		`"7d"`: 7 * 24 * time.Hour, `"1d"`: 24 * time.Hour, `"90m"`: 90 * time.Minute, `"3600"`: time.Hour, `3600`: time.Hour,
		`"8d"`: -1, `"1.5d"`: -1, `"-1h"`: -1, `"soon"`: -1, `true`: -1,
	} {
		if want < 0 {
			e.must(400, "POST", pathOf("one")+"/rotate", `{"grace":`+grace+`}`)
			continue
		}
		answer := decode(t, e.must(200, "POST", pathOf("one")+"/rotate", `{"grace":`+grace+`}`))["data"].(map[string]any)
		if got := string(jsonOf(answer["previous_expires_at"])); got != fmt.Sprint(now.Add(want).Unix()) {
			t.Errorf("%s: %s", grace, got)
		}
	}
}

// The log doesn't have the value of the panic.
func TestPanicIsAnswered(t *testing.T) {
	e := newEnv(t)
	h := e.server.route(map[string]handler{"GET": func(*request) (int, any, error) { panic(pluginToken) }})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	if w.Code != 500 || strings.Contains(e.log.String(), pluginToken) || !strings.Contains(e.log.String(), "reason=panic") {
		t.Errorf("%d, %s", w.Code, e.log.String())
	}
}

// A client can't cause a 500, whatever it sends.
func FuzzRequests(f *testing.F) {
	for _, seed := range [][4]string{
		{"POST", "/vault-auth", "application/json", kongAuth},
		{"POST", "/vault-auth", "application/x-www-form-urlencoded", "name=two&token=t&port=8200"},
		{"PUT", "/vaults/" + consumerID, "application/json", kongAuth},
		{"PATCH", "/vault-auth/kong-auth", "application/json", `{"port":null,"ca_cert":"\u0000"}`},
		{"DELETE", "/vault-auth/kong-auth?force=true", "", ""},
		{"POST", "/vault-auth/kong-auth/credentials", "multipart/form-data; boundary=x", "--x\r\nContent-Disposition: form-data; name=\"consumer[id]\"\r\n\r\nalex\r\n--x--\r\n"},
		{"POST", "/vault-auth/kong-auth/credentials/alex", "application/json", `{"groups":["a"],"allowed_ips":["::/0"],"ttl":1e9}`},
		{"PATCH", "/vault-auth/kong-auth/credentials/token/one", "application/json", `{"expires_at":1e300,"enabled":null}`},
		{"POST", "/vault-auth/kong-auth/credentials/token/one/rotate", "application/json", `{"grace":"1h","plain":true}`},
		{"GET", "/vault-auth/kong-auth/credentials?size=1&offset=YQ", "", ""},
		{"GET", "/vault-auth/%2e%2e/credentials/token/%00", "", ""},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	e := newEnv(f)
	delete(e.getenv, "KONG_ADMIN_URL")
	e.must(201, "POST", "/vault-auth", kongAuth)
	e.must(201, "POST", "/vault-auth/kong-auth/credentials/alex", `{"access_token":"one"}`)
	vaults, err := os.ReadFile(e.file)
	if err != nil {
		f.Fatal(err)
	}
	one := e.store.documents["one"]
	f.Fuzz(func(t *testing.T, method, path, contentType, body string) {
		e.TB = t
		r, err := httpRequest(method, path, body)
		if err != nil {
			t.Skip()
		}
		if err := os.WriteFile(e.file, vaults, 0o600); err != nil {
			t.Fatal(err)
		}
		e.store.documents = map[string]string{"one": one}
		e.audit.Reset()
		r.Header.Set("Content-Type", contentType)
		w := httptest.NewRecorder()
		e.h.ServeHTTP(w, r)
		if w.Code >= 500 {
			t.Errorf("%s %q %q: %d %s\n%s", method, path, body, w.Code, w.Body, e.log.String())
		}
		e.must(200, "GET", "/vault-auth", "") // the file is still one
	})
}
