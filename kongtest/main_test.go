package kongtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"kong-vault-auth/kongtest/internal/testbuild"
)

// binaries holds the plugins that the tests run, built once.
var binaries string

func TestMain(m *testing.M) {
	os.Exit(testbuild.Run(m, &binaries, "./testdata/pdkplugin", "./testdata/wireplugin"))
}

// startPlugin runs a plugin binary by itself and returns a client for it.
func startPlugin(t *testing.T, name string) *Client {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.Command(filepath.Join(binaries, name), "-kong-prefix", dir)
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	c := NewClient(filepath.Join(dir, name+".socket"))
	t.Cleanup(c.Close)
	if err := c.AwaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}
