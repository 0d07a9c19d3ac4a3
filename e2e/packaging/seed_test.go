package packaging

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/vault/api"
	"kong-vault-auth/e2e/vaultserver"
)

// recorder is a vault program that records its arguments, each followed by a zero byte and all
// by another one, and that knows no token.
const recorder = `#!/bin/sh
{ printf '%s\0' "$@"; printf '\0'; } >>"$0.calls"
[ "$1 $2" != 'token lookup' ]
`

// seedCommands runs deploy/seed.sh and returns the vault commands that it ran.
func seedCommands(t *testing.T, hcvToken string) [][]string {
	t.Helper()
	vault := filepath.Join(t.TempDir(), "vault")
	if err := os.WriteFile(vault, []byte(recorder), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "/bin/sh", file(t, "deploy/seed.sh"))
	cmd.Env = []string{"PATH=" + filepath.Dir(vault) + ":" + os.Getenv("PATH"), "HCV_TOKEN=" + hcvToken}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("deploy/seed.sh: %v\n%s", err, out)
	}
	calls, err := os.ReadFile(vault + ".calls")
	if err != nil {
		t.Fatal(err)
	}
	var commands [][]string
	for call := range strings.SplitSeq(strings.TrimSuffix(string(calls), "\x00\x00"), "\x00\x00") {
		commands = append(commands, strings.Split(call, "\x00"))
	}
	return commands
}

// replay does on a server what the vault program would have done.
func replay(t *testing.T, server *vaultserver.Server, commands [][]string) {
	t.Helper()
	client, err := api.NewClient(&api.Config{Address: server.Addr, HttpClient: &http.Client{}})
	if err != nil {
		t.Fatal(err)
	}
	client.SetToken(server.Token)
	for _, command := range commands {
		if err := replayOne(client, command); err != nil {
			t.Fatalf("vault %s: %v", strings.Join(command, " "), err)
		}
	}
}

func replayOne(client *api.Client, command []string) error {
	var words []string
	flags, fields := map[string]string{}, map[string]any{}
	for _, arg := range command {
		name, value, ok := strings.Cut(arg, "=")
		switch {
		case strings.HasPrefix(arg, "-"):
			flags[name] = value
		case ok:
			fields[name] = value
		default:
			words = append(words, arg)
		}
	}
	switch {
	case slices.Equal(words[:2], []string{"policy", "write"}):
		policy, err := os.ReadFile(words[3])
		if err != nil {
			return err
		}
		return client.Sys().PutPolicy(words[2], string(policy))
	case slices.Equal(words[:2], []string{"token", "create"}):
		_, err := client.Auth().Token().CreateOrphan(&api.TokenCreateRequest{
			ID: flags["-id"], Policies: []string{flags["-policy"]}, Period: flags["-period"],
		})
		return err
	case slices.Equal(words[:2], []string{"kv", "put"}):
		_, err := client.Logical().Write(flags["-mount"]+"/data/"+words[2], map[string]any{"data": fields})
		return err
	}
	return nil // token lookup
}
