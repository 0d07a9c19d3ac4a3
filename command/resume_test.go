package command

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"kong-vault-auth/credential"
)

// In the end every credential has a new secret token, and its last line in the file is
// the one that the store has.
func TestKilledRotationContinues(t *testing.T) {
	const credentials = 40
	sim, env := simulatedAzure(t)
	old := map[string]string{}
	for i := range credentials {
		token := fmt.Sprintf("mobile-%02d", i)
		r := &credential.Record{
			AccessToken: token, Secret: credential.HashedSecret("old"), Consumer: credential.Consumer{Username: "mobile-app"},
			CreatedAt: time.Now().AddDate(0, 0, -100), UpdatedAt: time.Now().AddDate(0, 0, -100),
		}
		record, err := credential.Encode(r)
		if err != nil {
			t.Fatal(err)
		}
		sim.Put("kong-auth-"+token, string(record), nil)
		old["kong-auth-"+token] = string(record)
	}
	secrets := filepath.Join(t.TempDir(), "s.jsonl")
	rotate := func() (*exec.Cmd, *bufio.Scanner) {
		cmd := process(t, env, "credential", "rotate", "--older-than", "90d", "--grace", "7d", "--secret-file", secrets)
		cmd.Stderr = t.Output()
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, bufio.NewScanner(out)
	}

	for range 3 {
		cmd, lines := rotate()
		for range 5 {
			if !lines.Scan() {
				t.Fatal("it has ended")
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait()
	}
	cmd, lines := rotate()
	n := 0
	for lines.Scan() {
		n++
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	if n > credentials-15 {
		t.Errorf("the last run has rotated %d of %d, so the killed ones were for nothing", n, credentials)
	}

	last := lastLines(t, secrets)
	for name, value := range sim.Values("kong-auth-") {
		r, err := credential.Parse([]byte(value))
		if err != nil {
			t.Fatal(err)
		}
		if value == old[name] {
			t.Errorf("%s was not rotated", name)
		}
		if !r.Secret.Hash.Matches(last[r.AccessToken]) {
			t.Errorf("the secret token of %s is lost", name)
		}
		if !r.Previous.Hash.Matches("old") {
			t.Errorf("the secret token before of %s does not work, and its owner has no other yet", name)
		}
	}
}

// lastLines is the newest secret token of each access token in a file of them.
func lastLines(t *testing.T, name string) map[string]string {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	last := map[string]string{}
	for d := json.NewDecoder(f); ; {
		var pair struct {
			AccessToken string `json:"access_token"`
			SecretToken string `json:"secret_token"`
		}
		err := d.Decode(&pair)
		if err == io.EOF {
			return last
		}
		if err != nil {
			t.Fatal(err)
		}
		last[pair.AccessToken] = pair.SecretToken
	}
}
