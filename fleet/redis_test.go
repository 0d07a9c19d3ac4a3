package fleet

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// server is a Redis or Valkey of the machine.
type server struct {
	*testing.T
	addr  string
	args  []string
	ready string // what it says when it is
	cmd   *exec.Cmd
	raw   *redis.Client // of somebody who may do everything
}

var install = sync.OnceFunc(func() {
	if os.Geteuid() == 0 {
		_ = exec.Command("sh", "-c", "apt-get update -qq && DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends redis-server").Run()
	}
})

// program is redis-server or valkey-server, which is installed where that is possible.
func program(t *testing.T) string {
	for _, again := range []bool{false, true} {
		for _, name := range []string{"redis-server", "valkey-server"} {
			if path, err := exec.LookPath(name); err == nil {
				return path
			}
		}
		if !again {
			install()
		}
	}
	t.Skip("THERE IS NO REDIS: install redis-server or valkey-server, or nothing shows that nodes hear of each other")
	return ""
}

// newServer starts one, with more settings of its configuration.
func newServer(t *testing.T, settings ...string) *server {
	t.Helper()
	s := prepareServer(t, append([]string{`save ""`, "appendonly no"}, settings...)...)
	s.run()
	return s
}

// newSentinel starts a Sentinel.
func newSentinel(t *testing.T, settings ...string) *server {
	t.Helper()
	s := prepareServer(t, settings...)
	s.args, s.ready = append(s.args, "--sentinel"), "Sentinel ID is"
	s.run()
	return s
}

// prepareServer writes the configuration of one that run starts.
func prepareServer(t *testing.T, settings ...string) *server {
	t.Helper()
	port, dir := freePort(t), t.TempDir()
	addr := "127.0.0.1:" + port
	config := filepath.Join(dir, "redis.conf")
	lines := append([]string{"bind 127.0.0.1", "port " + port, "dir " + dir}, settings...)
	if err := os.WriteFile(config, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := &server{
		T: t, addr: addr, args: []string{program(t), config}, ready: "Ready to accept connections",
		raw: redis.NewClient(&redis.Options{Addr: addr, MaxRetries: -1}),
	}
	t.Cleanup(func() {
		s.raw.Close()
		s.kill()
	})
	return s
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	return port
}

// run starts it, and returns when it is ready.

func (s *server) run() {
	s.Helper()
	s.cmd = exec.Command(s.args[0], s.args[1:]...)
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		s.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		s.Fatal(err)
	}
	var said strings.Builder
	for lines := bufio.NewScanner(out); lines.Scan(); {
		fmt.Fprintln(&said, lines.Text())
		if strings.Contains(lines.Text(), s.ready) {
			go io.Copy(io.Discard, out)
			return
		}
	}
	s.Fatalf("Redis did not start:\n%s", &said)
}

func (s *server) kill() {
	if s.cmd != nil {
		_ = s.cmd.Process.Kill()
		_ = s.cmd.Wait()
		s.cmd = nil
	}
}

// do sends a command, as redis-cli does.
func (s *server) do(args ...any) any {
	s.Helper()
	v, err := s.raw.Do(context.Background(), args...).Result()
	if err != nil {
		s.Fatal(args, err)
	}
	return v
}

// eventually returns when it is so; the test's own deadline ends it.
func eventually(t *testing.T, what string, so func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !so() {
		select {
		case <-t.Context().Done():
			t.Fatalf("%s: it never came to that", what)
		case <-tick.C:
		}
	}
}
