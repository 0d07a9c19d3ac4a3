package kongtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// binaries holds the plugins that the tests run, built once.
var binaries string

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "kongtest")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer os.RemoveAll(dir)
		binaries = dir
		build := exec.Command("go", "build", "-o", dir, "./testdata/pdkplugin", "./testdata/wireplugin")
		if out, err := build.CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "building the test plugins: %v\n%s", err, out)
			return 1
		}
		return m.Run()
	}())
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
