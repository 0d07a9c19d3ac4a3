package hashivault

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// realVault is a HashiCorp Vault server, run for one test.
type realVault struct {
	t         *testing.T
	Addr      string `json:"addr"`
	TLSAddr   string `json:"tls_addr"`
	RootToken string `json:"root_token"`
	UnsealKey string `json:"unseal_key"`
	audit     string
}

// startVault starts the server that VAULTD_BIN names. It takes the flags that
// the e2e module's Vault server has.
func startVault(t *testing.T, flags ...string) *realVault {
	t.Helper()
	bin := os.Getenv("VAULTD_BIN")
	if bin == "" {
		t.Skip("not run against a real Vault: set VAULTD_BIN; make test does")
	}
	v := &realVault{t: t, audit: filepath.Join(t.TempDir(), "audit.log")}
	cmd := exec.Command(bin, append([]string{"-addr", "127.0.0.1:0", "-audit", v.audit}, flags...)...)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		cmd.Wait()
	})
	if err := json.NewDecoder(out).Decode(v); err != nil {
		t.Fatalf("the Vault server did not start: %v", err)
	}
	return v
}

// do sends an administrator's request and returns the JSON of the answer.
func (v *realVault) do(method, path string, body any, header ...string) map[string]any {
	v.t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		v.t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(v.t.Context(), method, v.Addr+"/v1/"+path, bytes.NewReader(b))
	if err != nil {
		v.t.Fatal(err)
	}
	req.Header.Set("X-Vault-Token", v.RootToken)
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		v.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, _ := io.ReadAll(resp.Body)
	if resp.StatusCode >= 300 {
		v.t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, answer)
	}
	var decoded map[string]any
	json.Unmarshal(answer, &decoded)
	return decoded
}

type fields = map[string]any

// policy makes a policy that may read below a path, and returns its name.
func (v *realVault) policy(path string) string {
	v.t.Helper()
	name := "read-" + strings.NewReplacer("/", "-", "*", "").Replace(path)
	v.do("PUT", "sys/policies/acl/"+name, fields{"policy": `path "` + path + `" { capabilities = ["read"] }`})
	return name
}

// token makes a token with the smallest policy for the default configuration.
func (v *realVault) token(more fields) string {
	v.t.Helper()
	body := fields{"policies": []string{v.policy("secret/data/kong-auth/*")}, "ttl": "1h"}
	for k, x := range more {
		body[k] = x
	}
	return v.do("POST", "auth/token/create", body)["auth"].(fields)["client_token"].(string)
}

// put stores a record in the KV v2 engine at secret/.
func (v *realVault) put(accessToken string) {
	v.t.Helper()
	v.do("POST", "secret/data/kong-auth/"+accessToken, fields{"data": json.RawMessage(record(accessToken))})
}

// config is the default configuration for this server, changed by edit.
func (v *realVault) config(edit func(*Config)) Config {
	v.t.Helper()
	return at(v.t, config(edit), v.Addr)
}

// audited returns the requests in the audit file for an operation and a path.
func (v *realVault) audited(operation, path string) []auditEntry {
	v.t.Helper()
	log, err := os.ReadFile(v.audit)
	if err != nil {
		v.t.Fatal(err)
	}
	var found []auditEntry
	for line := range bytes.Lines(log) {
		var e auditEntry
		if !bytes.HasSuffix(line, []byte("\n")) {
			break // it is still being written
		}
		if err := json.Unmarshal(line, &e); err != nil {
			v.t.Fatal(err)
		}
		if e.Type == "request" && e.Request.Operation == operation && e.Request.Path == path {
			found = append(found, e)
		}
	}
	return found
}

type auditEntry struct {
	Type    string `json:"type"`
	Request struct {
		Operation string              `json:"operation"`
		Path      string              `json:"path"`
		Headers   map[string][]string `json:"headers"`
	} `json:"request"`
}

// eventually waits for something that happens in the background.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("did not happen within 20 s: %s", what)
		}
		time.Sleep(10 * time.Millisecond)
	}
}
