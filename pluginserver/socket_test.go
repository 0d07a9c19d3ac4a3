package pluginserver

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func socketDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ps") // t.TempDir's paths can be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func listen(t *testing.T, path string) *Socket {
	t.Helper()
	s, err := ListenSocket(path, 0o600, -1)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSocketIsPrivateAndRemovedAtClose(t *testing.T) {
	path := filepath.Join(socketDir(t), "p.socket")
	s := listen(t, path)
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	left, err := os.ReadDir(filepath.Dir(path))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestASecondServerTakesThePathOver(t *testing.T) {
	path := filepath.Join(socketDir(t), "p.socket")
	first := listen(t, path)
	second := listen(t, path)
	busy, asked := true, 0
	needless := func(replaced bool, since time.Duration) bool {
		asked++
		return replaced && since > 3*time.Millisecond
	}
	if !first.WatchTakeover(t.Context(), time.Millisecond, needless, func() bool { busy = !busy; return busy }) || asked < 3 {
		t.Errorf("the first server does not notice, or leaves at once (after %d looks)", asked)
	}
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	accepted := make(chan error, 1)
	go func() {
		c, err := second.Accept()
		if err == nil {
			c.Close()
		}
		accepted <- err
	}()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("the second server's socket went with the first server: %v", err)
	}
	c.Close()
	if err := <-accepted; err != nil {
		t.Error(err)
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}

func TestASocketThatWasRemovedIsNotTakenForReplaced(t *testing.T) {
	path := filepath.Join(socketDir(t), "p.socket")
	s := listen(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	s.WatchTakeover(t.Context(), time.Millisecond, func(replaced bool, _ time.Duration) bool {
		if replaced {
			t.Error("there is no other server")
		}
		return true
	}, func() bool { return true })
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestSocketPathThatIsTooLongIsNamed(t *testing.T) {
	_, err := ListenSocket("/tmp/"+strings.Repeat("x", 103), 0o600, -1)
	if err == nil || !strings.Contains(err.Error(), "use a shorter Kong prefix") {
		t.Errorf("got %v", err)
	}
}
