package packaging

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"kong-vault-auth/e2e/build"
)

// TestReleaseHasWhatAnInstallationNeeds, for this machine's architecture.
func TestReleaseHasWhatAnInstallationNeeds(t *testing.T) {
	root, err := build.Root()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, ".git")); err != nil {
		t.Skipf("not in a git checkout: %v", err)
	}
	dist := t.TempDir()
	run := func(dir, name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", cmd, err, out)
		}
		return string(out)
	}
	run(root, "make", "release", "VERSION=v1.2.3", "ARCHS="+runtime.GOARCH, "DIST="+dist)

	name := "vault-auth-v1.2.3-linux-" + runtime.GOARCH
	archive, err := os.ReadFile(filepath.Join(dist, name+".tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
	if want := fmt.Sprintf("%x  %s.tar.gz\n", sha256.Sum256(archive), name); string(sums) != want || err != nil {
		t.Errorf("SHA256SUMS is %q, %v; want %q", sums, err, want)
	}
	for _, line := range strings.Split(strings.TrimSpace(run(dist, "tar", "-tvzf", name+".tar.gz")), "\n") {
		if !strings.Contains(line, " 0/0 ") || line[5] == 'w' || line[8] == 'w' {
			t.Errorf("root doesn't own it, or others may write it: %s", line)
		}
	}
	run(dist, "tar", "-xzf", name+".tar.gz")
	unpacked := filepath.Join(dist, name)
	if version := run(unpacked, "bin/vault-auth", "-version"); version != "v1.2.3\n" {
		t.Errorf("the program is version %q", version)
	}
	for _, file := range []string{
		"LICENSE", "docs/running.md", "kong.conf.example", "deploy/vault-auth.service", "deploy/vault-auth.socket",
		"deploy/kong.service.d/vault-auth.conf", "lua/kong/vaults/hcv/init.lua", "lua/kong/vaults/azure/schema.lua",
	} {
		if _, err := os.Stat(filepath.Join(unpacked, file)); err != nil {
			t.Error(err)
		}
	}
}
