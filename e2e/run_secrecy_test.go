package e2e

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"kong-vault-auth/control"
	"kong-vault-auth/e2e/program"
	"kong-vault-auth/e2e/vaultserver"
	"kong-vault-auth/pluginserver/servertest"
)

// tap forwards connections to an address, and keeps what is sent in both directions.
type tap struct {
	net.Listener
	servertest.Buffer
}

// newTap listens at a loopback port or, for a unix socket, at a path beside it.
func newTap(t *testing.T, network, address string) *tap {
	t.Helper()
	at := "127.0.0.1:0"
	if network == "unix" {
		at = address + ".tap"
	}
	l, err := net.Listen(network, at)
	if err != nil {
		t.Fatal(err)
	}
	p := &tap{Listener: l}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			client, err := l.Accept()
			if err != nil {
				return
			}
			go p.pass(client, network, address)
		}
	}()
	return p
}

func (p *tap) pass(client net.Conn, network, address string) {
	defer client.Close()
	server, err := net.Dial(network, address)
	if err != nil {
		return
	}
	go func() {
		defer server.Close()
		_, _ = io.Copy(io.MultiWriter(server, &p.Buffer), client)
	}()
	_, _ = io.Copy(io.MultiWriter(client, &p.Buffer), server)
}

// TestNoSecretIsInWhatARunHasWritten: credentials are created, rotated, used, blocked and
// revoked by the Admin API and by commands, with mistakes. Then every secret of the run
// is searched for in all that was logged, answered and sent, and an access token in what
// has left the node.
func TestNoSecretIsInWhatARunHasWritten(t *testing.T) {
	t.Parallel()
	redis, _ := program.Redis(t)
	toRedis := newTap(t, "tcp", redis)
	dir := t.TempDir()
	keyFile, metrics, blocks := filepath.Join(dir, "key"), filepath.Join(dir, "m"), filepath.Join(dir, "blocks")
	secretFile := filepath.Join(dir, "secrets.jsonl")
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	if err := os.WriteFile(keyFile, []byte(hex.EncodeToString(key)), 0o600); err != nil {
		t.Fatal(err)
	}
	m := managedGateway(t, vaultserver.KongAuth,
		"VAULT_AUTH_BLOCKS_FILE="+blocks, "VAULT_AUTH_EVENTS_KEY_FILE="+keyFile, "VAULT_AUTH_EVENTS=redis://"+toRedis.Addr().String(),
		"VAULT_AUTH_METRICS_LISTEN=unix:"+metrics, "VAULT_AUTH_LOG_LEVEL=debug", "KONG_LOG_LEVEL=info")
	toControl := newTap(t, "unix", control.Beside(m.g.Socket()))
	m.serve(toControl.Addr().String())
	o := m.operates(m.g, "VAULT_AUTH_VAULTS_FILE="+m.file, control.Variable+"="+toControl.Addr().String())
	secrets := []string{m.token, m.vault.Token, hex.EncodeToString(key), string(key)}
	var clients strings.Builder // the answers that they get
	asks := func(p pair, want int) {
		t.Helper()
		secrets = append(secrets, p.secret)
		a := m.ask(m.g, p)
		if a.Status != want {
			t.Errorf("%d %s, want %d", a.Status, a.Body, want)
		}
		if want != 200 { // the upstream of these tests answers with what it gets
			fmt.Fprint(&clients, a.Header, a.Body)
		}
	}

	// By the Admin API.
	address, err := url.Parse(m.vault.Addr)
	m.must(err)
	fields := object{"name": "kong-auth", "mount": "secret", "path": "kong-auth", "host": address.Hostname(), "port": json.Number(address.Port()), "vault_token": m.token}
	body, err := json.Marshal(fields)
	m.must(err)
	const form, inJSON = "application/x-www-form-urlencoded", "application/json"
	m.call(201, "POST", "/vault-auth", inJSON, string(body), nil)
	m.must(m.g.Configure(m.declare(consumers(), m.guarded("/", object{"vault": "kong-auth"}))))
	var created, rotated issued
	credentials := "/vault-auth/kong-auth/credentials"
	m.call(201, "POST", credentials+"/alice", "", "", &created)
	token := credentials + "/token/" + created.Data.AccessToken
	m.passes(created.pair(), "/")
	m.call(200, "POST", token+"/rotate", inJSON, `{"grace": 3600}`, &rotated)
	asks(created.pair(), 200)
	asks(rotated.pair(), 200)
	m.call(200, "GET", token, "", "", nil)
	m.call(200, "GET", credentials, "", "", nil)
	m.call(200, "GET", "/vault-auth", "", "", nil)
	m.call(409, "POST", "/vault-auth", inJSON, string(body), nil)
	m.call(400, "POST", "/vault-auth", form, "name=other&hots=vault&vault_token="+m.token, nil)
	m.call(400, "POST", "/vault-auth", inJSON, strings.TrimSuffix(string(body), "}"), nil)
	m.call(400, "POST", credentials, form, "consumer=alice&secret_token="+rotated.Data.SecretToken, nil)
	m.call(400, "PATCH", token, form, "ttl=1&secret_token="+rotated.Data.SecretToken, nil)

	// By commands.
	o.types(0, "credential", "create", "--consumer", aliceID, "--secret-file", secretFile)
	p := o.kept(secretFile)
	asks(p, 200)
	asks(pair{p.access, "wrong-" + rand.Text()}, 401)
	o.types(0, "credential", "rotate", p.access, "--grace", "1h", "--secret-file", secretFile, "-o", "json")
	asks(o.kept(secretFile), 200)
	asks(p, 200)
	o.types(4, "credential", "create", "--consumer", aliceID, "--plain", "--secret-file", secretFile, p.access)
	o.types(3, "credential", "rotate", "nobody", "--secret-file", secretFile)
	o.types(0, "credential", "show", p.access)
	o.types(0, "credential", "list", "-o", "json")
	o.types(0, "vault", "list")
	o.types(0, "vault", "check", "kong-auth")
	o.types(0, "vault", "status", "-o", "json")
	o.types(0, "vault", "refresh", "kong-auth", p.access)
	o.types(0, "credential", "block", p.access)
	asks(p, 401)
	o.types(0, "credential", "list", "--blocked")
	o.types(0, "credential", "unblock", p.access)
	asks(p, 200)
	o.types(0, "credential", "leaked", p.access)
	asks(o.kept(secretFile), 401)
	stranger := "hvs." + rand.Text()
	secrets = append(secrets, stranger)
	o.env = append(o.env, "VAULT_TOKEN="+stranger)
	o.types(5, "credential", "rotate", created.Data.AccessToken, "--secret-file", secretFile)
	m.call(204, "DELETE", token, "", "", nil)
	asks(rotated.pair(), 401)

	listed, err := os.ReadFile(blocks)
	m.must(err)
	written := map[string]string{
		"the log": allLevels(m.g), "the audit log": m.admin.Output.String(), "a command's output": o.output.String(), "an answer to a client": clients.String(),
		"a message to other nodes": toRedis.String(), "the control socket": toControl.String(), "the metrics": scrape(t, metrics), "the list of blocks": string(listed),
		// Each secret token is in one answer of the Admin API: to the request that created it.
		"the Admin API's answers": strings.NewReplacer(`"secret_token":"`+created.Data.SecretToken, "", `"secret_token":"`+rotated.Data.SecretToken, "").Replace(m.answers.String()),
	}
	for _, i := range []issued{created, rotated} {
		if n := strings.Count(m.answers.String(), i.Data.SecretToken); n != 1 {
			t.Errorf("a secret token was answered %d times", n)
		}
	}
	for where, text := range written {
		if text == "" {
			t.Errorf("nothing is in %s", where)
		}
		for _, secret := range secrets {
			if strings.Contains(text, secret) {
				t.Errorf("the secret %q is in %s:\n%s", secret, where, text)
			}
		}
	}
	for _, access := range []string{p.access, created.Data.AccessToken} {
		if strings.Contains(toRedis.String(), access) {
			t.Errorf("the access token %s has left the node:\n%s", access, toRedis)
		}
	}
}
