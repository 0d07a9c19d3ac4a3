package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"kong-vault-auth/control"
	"kong-vault-auth/e2e/program"
	"kong-vault-auth/e2e/vaultserver"
	"kong-vault-auth/unixsocket"
)

// managed is a gateway whose plugin server has an Admin API beside it. They share a
// vaults file, which doesn't exist yet.
type managed struct {
	*testEnv
	g       gateway
	file    string
	client  *http.Client
	admin   *program.Program // its output holds the audit log
	answers strings.Builder  // of the Admin API
}

func newManaged(t *testing.T, kv vaultserver.KV) *managed {
	m := managedGateway(t, kv)
	m.serve(control.Beside(m.g.Socket()))
	return m
}

// managedGateway is one without the Admin API. Its plugin server gets env.
func managedGateway(t *testing.T, kv vaultserver.KV, env ...string) *managed {
	m := &managed{testEnv: newEnvOn(t, sharedVault, kv), file: filepath.Join(t.TempDir(), "vaults.yml")}
	m.g = start(t, m.declare(consumers()), append(env, "VAULT_AUTH_VAULTS_FILE="+m.file)...)
	return m
}

// serve starts the Admin API, which finds the plugin server at the control socket.
func (m *managed) serve(controlSocket string) {
	t := m.T
	t.Helper()
	socket := filepath.Join(filepath.Dir(m.g.Socket()), "admin")
	cmd := exec.Command(filepath.Join(plugins, "vault-auth"), "admin", "--listen", "unix:"+socket)
	cmd.Env = append(os.Environ(), "VAULT_AUTH_VAULTS_FILE="+m.file, "VAULT_TOKEN="+m.vault.Token,
		control.Variable+"="+controlSocket, quickExit)
	if k, genuine := m.g.(*genuineGateway); genuine {
		cmd.Env = append(cmd.Env, "KONG_ADMIN_URL="+k.AdminURL())
	}
	m.admin = program.Start(t, cmd)
	program.Eventually(t, "the Admin API listens", func() bool { return program.Listens("unix", socket) })
	m.client = &http.Client{Transport: unixsocket.Transport(socket)}
}

// call sends a request to the Admin API, which must answer with the status. An answer
// is decoded into into.
func (m *managed) call(status int, method, path, contentType, body string, into any) {
	m.Helper()
	req, err := http.NewRequestWithContext(m.Context(), method, "http://kong:8001"+path, strings.NewReader(body))
	m.must(err)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	resp, err := m.client.Do(req)
	m.must(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	m.must(err)
	m.answers.Write(b)
	if resp.StatusCode != status {
		m.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, b)
	}
	if into != nil {
		m.must(json.NewDecoder(bytes.NewReader(b)).Decode(into))
	}
}

// issued is the answer to a new credential, as Kong Enterprise documents it.
type issued struct {
	Data struct {
		AccessToken string `json:"access_token"`
		SecretToken string `json:"secret_token"`
		CreatedAt   int64  `json:"created_at"`
		TTL         any    `json:"ttl"`
		Consumer    struct {
			ID       string `json:"id"`
			Username string `json:"username"`
		} `json:"consumer"`
	} `json:"data"`
}

func (i *issued) pair() pair { return pair{i.Data.AccessToken, i.Data.SecretToken} }

// passes checks that the pair is accepted on a path.
func (m *managed) passes(p pair, path string) {
	m.Helper()
	if a := m.get(m.g, path, p.header()); a.Status != 200 {
		m.Fatalf("through the gateway: %d %s", a.Status, a.Body)
	}
}

// tutorialMount is the mount of the original tutorial, which several tests share since
// its name is part of what they show.
var tutorialMount = sync.OnceValues(func() (vaultserver.KV, error) {
	kv := vaultserver.KV{Mount: "kong-auth", Version: 1}
	return kv, sharedVault.MountKV(context.Background(), kv)
})

// TestFiveStepsOfTheOriginalTutorial of 2019, with its paths and bodies: a form at
// /vaults, KV version 1 at kong-auth. docs/admin-api.md says what differs: the plugin
// names the object, and the answer doesn't repeat the token.
func TestFiveStepsOfTheOriginalTutorial(t *testing.T) {
	t.Parallel()
	kv, err := tutorialMount()
	if err != nil {
		t.Fatal(err)
	}
	m := newManaged(t, kv)
	address, err := url.Parse(m.vault.Addr)
	m.must(err)

	// 1. Create a vault object.
	var vault object
	m.call(201, "POST", "/vaults", "application/x-www-form-urlencoded", url.Values{
		"name": {"kong-auth"}, "mount": {"kong-auth"}, "protocol": {"http"},
		"host": {address.Hostname()}, "port": {address.Port()}, "token": {m.token},
	}.Encode(), &vault)
	if vault["token"] != nil || vault["name"] != "kong-auth" || vault["id"] == "" || vault["created_at"] == nil {
		t.Errorf("%v", vault)
	}

	// 2. and 3. The plugin, and a consumer.
	m.must(m.g.Configure(m.declare(consumers(), m.guarded("/", object{"vault": "kong-auth"}))))

	// 4. Create a pair of tokens.
	var created issued
	m.call(201, "POST", "/vaults/kong-auth/credentials/"+aliceID, "", "", &created)
	if created.Data.Consumer.ID != aliceID || created.Data.CreatedAt == 0 || created.Data.TTL != nil {
		t.Errorf("%v", created.Data.Consumer)
	}

	// 5. Use it.
	m.passes(created.pair(), "/")
	if a := m.get(m.g, "/", pair{created.Data.AccessToken, "wrong"}.header()); a.Status != 401 {
		t.Errorf("a wrong secret token: %d %s", a.Status, a.Body)
	}

	// A deleted credential is refused by the next request.
	m.call(204, "DELETE", "/vaults/kong-auth/credentials/token/"+created.Data.AccessToken, "", "", nil)
	if a := m.get(m.g, "/", created.pair().header()); a.Status != 401 {
		t.Errorf("deleted: %d %s", a.Status, a.Body)
	}
	for _, secret := range []string{m.token, m.vault.Token, created.Data.SecretToken} {
		if strings.Contains(m.admin.Output.String(), secret) {
			t.Error("the output of the Admin API holds a secret")
		}
	}
}

// TestNewestHowToOfEnterprise, with its path and body: JSON at /vault-auth, KV version 2 at
// secret, a consumer by its username.
func TestNewestHowToOfEnterprise(t *testing.T) {
	t.Parallel()
	m := newManaged(t, vaultserver.KV{Mount: "secret", Version: 2})
	address, err := url.Parse(m.vault.Addr)
	m.must(err)
	body, err := json.Marshal(object{
		"name": "kong-auth", "mount": "secret", "protocol": "http",
		"host": address.Hostname(), "port": json.Number(address.Port()), "vault_token": m.token, "kv": "v2",
	})
	m.must(err)
	var vault object
	m.call(201, "POST", "/vault-auth", "application/json", string(body), &vault)
	m.must(m.g.Configure(m.declare(consumers(), m.guarded("/anything", object{"vault": "kong-auth"}))))
	var created issued
	m.call(201, "POST", "/vault-auth/kong-auth/credentials/alice", "", "", &created)
	m.passes(created.pair(), "/anything")

	// A rotation is in force when it is answered, and so is a restriction.
	var rotated issued
	id, _ := vault["id"].(string)
	m.call(200, "POST", "/vault-auth/"+id+"/credentials/token/"+created.Data.AccessToken+"/rotate", "application/json", `{"grace": 3600}`, &rotated)
	for name, p := range map[string]pair{"the old secret token": created.pair(), "the new one": rotated.pair()} {
		if a := m.get(m.g, "/anything", p.header()); a.Status != 200 {
			t.Errorf("%s: %d %s", name, a.Status, a.Body)
		}
	}
	m.call(200, "PATCH", "/vault-auth/kong-auth/credentials/token/"+created.Data.AccessToken, "application/json", `{"enabled": false}`, nil)
	if a := m.get(m.g, "/anything", rotated.pair().header()); a.Status != 401 {
		t.Errorf("disabled: %d %s", a.Status, a.Body)
	}
	var answer struct{ Message string }
	m.call(409, "DELETE", "/vault-auth/kong-auth", "", "", &answer)
	if genuineKong != "" && (!strings.HasPrefix(answer.Message, "kong-auth is used by these plugin configurations") || created.Data.Consumer.ID != aliceID) {
		t.Errorf("Kong's Admin API was not asked: %s; consumer %+v", answer.Message, created.Data.Consumer)
	}

	// So is a deleted vault object.
	m.call(204, "DELETE", "/vault-auth/kong-auth?force=true", "", "", nil)
	if a := m.get(m.g, "/anything", rotated.pair().header()); a.Status != 500 {
		t.Errorf("without the vault object: %d %s", a.Status, a.Body)
	}
}
