package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"kong-vault-auth/credential"
)

// In the end each pair of the file is in the store, and was written once.
func TestKilledImportContinues(t *testing.T) {
	const pairs = 1200
	for name, open := range map[string]func(*testing.T) importStore{"vault": vaultToImportInto, "azure": azureToImportInto} {
		t.Run(name, func(t *testing.T) {
			store := open(t)
			secrets := map[string]string{}
			padding := strings.Repeat(" ", 800) // so that pipe and buffer hold only few of the pairs
			var lines []string
			for i := range pairs {
				accessToken := fmt.Sprintf("mobile-%04d", i)
				_, secrets[accessToken], _ = credential.Generate(credential.Prefix)
				lines = append(lines, fmt.Sprintf(`{"access_token":%q,"secret_token":%q,"consumer":{"username":"mobile-app"}}%s`+"\n", accessToken, secrets[accessToken], padding))
			}
			for _, killedAfter := range []int{pairs / 2, pairs * 3 / 4, pairs} {
				cmd, in, _ := startImport(t, store.env)
				// What has been written here has been read, but for what a pipe holds.
				if _, err := io.WriteString(in, strings.Join(lines[:killedAfter], "")); err != nil {
					t.Fatal(err)
				}
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
				_ = cmd.Wait()
			}
			cmd, in, out := startImport(t, store.env)
			_, err := io.WriteString(in, strings.Join(lines, ""))
			in.Close()
			if errWait := cmd.Wait(); err != nil || errWait != nil {
				t.Fatal(err, errWait, out)
			}
			var got summary
			if err := json.Unmarshal(out.Bytes(), &got); err != nil {
				t.Fatal(err, out)
			}
			if got.Created+got.Unchanged != pairs || got.Unchanged < pairs/4 || got.Failed+got.Replaced != 0 {
				t.Errorf("the last run: %+v", got)
			}
			store.mustHaveOnce(t, secrets)
		})
	}
}

// mustHaveOnce checks that the store has these pairs and no others, and that each was
// written once.
func (store importStore) mustHaveOnce(t *testing.T, secrets map[string]string) {
	t.Helper()
	stored := store.read(t)
	if len(stored) != len(secrets) {
		t.Errorf("the store has %d credentials, want %d", len(stored), len(secrets))
	}
	for _, s := range stored {
		r, err := credential.Parse(s.record)
		switch {
		case err != nil:
			t.Fatal(err)
		case s.versions != 1:
			t.Errorf("%s was written %d times", r.AccessToken, s.versions)
		case !r.Secret.Hash.Matches(secrets[r.AccessToken]):
			t.Errorf("%s has another secret token", r.AccessToken)
		}
	}
}

// importStore is a store to import into.
type importStore struct {
	env  []string
	read func(*testing.T) []storedImport
}

type storedImport struct {
	record   []byte
	versions int
}

// startImport starts an import that reads what is written to in.
func startImport(t *testing.T, env []string) (cmd *exec.Cmd, in io.WriteCloser, out *bytes.Buffer) {
	t.Helper()
	cmd, out = importCommand(t, env, "-", "--format", "json", "--rate", "1000000")
	cmd.Stderr = t.Output()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, in, out
}

// importCommand is an import whose summary goes to out.
func importCommand(t *testing.T, env []string, args ...string) (cmd *exec.Cmd, out *bytes.Buffer) {
	t.Helper()
	out = &bytes.Buffer{}
	cmd = process(t, env, append([]string{"credential", "import", "-o", "json"}, args...)...)
	cmd.Stdout = out
	return cmd, out
}

func azureToImportInto(t *testing.T) importStore {
	sim, env := simulatedAzure(t)
	return importStore{
		env: env,
		read: func(*testing.T) (all []storedImport) {
			for name, value := range sim.Values("kong-auth-") {
				all = append(all, storedImport{[]byte(value), sim.Versions(name)})
			}
			return all
		},
	}
}

func vaultToImportInto(t *testing.T) importStore {
	if os.Getenv("VAULTD_BIN") == "" {
		t.Skip("needs a real Vault: make test")
	}
	server, err := startVault()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.stop)
	get := func(t *testing.T, method, path string, answer any) {
		req, err := http.NewRequest(method, server.Addr+"/v1/"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Vault-Token", server.RootToken)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		if err := json.NewDecoder(resp.Body).Decode(answer); err != nil {
			t.Fatal(err)
		}
	}
	return importStore{
		env: []string{"VAULT_TOKEN=" + server.RootToken, vaultsFile(t, "vaults: [{name: hcv, prefix: kong-auth, config: {host: 127.0.0.1, port: "+server.port()+", path: kong-auth, kv: v2}}]")},
		read: func(t *testing.T) (all []storedImport) {
			var names struct {
				Data struct {
					Keys []string `json:"keys"`
				} `json:"data"`
			}
			get(t, "LIST", "secret/metadata/kong-auth", &names)
			for _, name := range names.Data.Keys {
				var secret struct {
					Data struct {
						Data     json.RawMessage `json:"data"`
						Metadata struct {
							Version int `json:"version"`
						} `json:"metadata"`
					} `json:"data"`
				}
				get(t, "GET", "secret/data/kong-auth/"+name, &secret)
				all = append(all, storedImport{secret.Data.Data, secret.Data.Metadata.Version})
			}
			return all
		},
	}
}
