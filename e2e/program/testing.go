package program

import (
	"net"
	"os/exec"
	"testing"
	"time"
)

// Start starts a program that is stopped at the end of the test, which fails unless the
// program then ends with status 0. Of a test that failed, its output is logged.
func Start(t testing.TB, cmd *exec.Cmd) *Program {
	t.Helper()
	p, err := Run(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if !p.ended.Load() {
			if err := p.Stop(); err != nil {
				t.Error(err)
			} else if err := p.Err(); err != nil {
				t.Errorf("%s: %v", p.name(), err)
			}
		}
		if t.Failed() {
			t.Logf("%s has printed:\n%s", p.name(), p.Output.String())
		}
	})
	return p
}

// Redis starts the machine's Redis, and returns where it listens. Where there is none the
// test is skipped.
func Redis(t testing.TB, args ...string) (addr string, p *Program) {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("THERE IS NO REDIS: install redis-server")
	}
	if addr, err = FreeAddr(); err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	p = Start(t, exec.Command(program, append([]string{"--bind", host, "--port", port, "--save", "", "--dir", t.TempDir()}, args...)...))
	Eventually(t, "Redis listens", func() bool { return Listens("tcp", addr) })
	return addr, p
}

// patience bounds each wait for something that has to happen, generously: how long it takes
// is not what is tested.
const patience = time.Minute

// Eventually polls until ok. It fails the test if that doesn't happen.
func Eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(patience)
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for !ok() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}
