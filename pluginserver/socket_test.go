package pluginserver

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
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

// reaches reports whether a connection to the path ends up at a socket.
func reaches(t *testing.T, path string, s *Socket) bool {
	t.Helper()
	accepted := make(chan net.Conn, 1)
	go func() {
		if c, err := s.Accept(); err == nil {
			accepted <- c
		}
		close(accepted)
	}()
	c, err := net.Dial("unix", path)
	if err != nil {
		return false
	}
	defer c.Close()
	other := <-accepted
	if other == nil {
		return false
	}
	return other.Close() == nil
}

func TestASecondServerTakesThePathOver(t *testing.T) {
	path := filepath.Join(socketDir(t), "p.socket")
	first, second := listen(t, path), listen(t, path)
	if err := first.checkPath(); !errors.Is(err, errTaken) {
		t.Errorf("the first server's path: %v", err)
	}
	for range 2 {
		if err := first.Close(); err != nil {
			t.Error(err)
		}
	}
	if !reaches(t, path, second) {
		t.Error("the second server's socket went with the first server")
	}
	if err := second.Close(); err != nil {
		t.Error(err)
	}
}

func TestSocketThatWasRemovedComesBack(t *testing.T) {
	path := filepath.Join(socketDir(t), "p.socket")
	s := listen(t, path)
	defer s.Close()
	accepted := make(chan error, 1)
	go func() { // accepts throughout
		_, err := s.Accept()
		accepted <- err
	}()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if err := s.restore(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || s.checkPath() != nil {
		t.Errorf("%v, %v, %v", info, err, s.checkPath())
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if err := <-accepted; err != nil {
		t.Error(err)
	}
}

func TestSocketIsNotTakenBackFromAnotherServer(t *testing.T) {
	path := filepath.Join(socketDir(t), "p.socket")
	first := listen(t, path)
	defer first.Close()
	second := listen(t, path)
	defer second.Close()
	if err := first.restore(); !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %v", err)
	}
	if !reaches(t, path, second) {
		t.Error("the path doesn't lead to the second server")
	}
	if left, err := os.ReadDir(filepath.Dir(path)); err != nil || len(left) != 1 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestSocketPathThatIsTooLongIsNamed(t *testing.T) {
	_, err := ListenSocket("/tmp/"+strings.Repeat("x", 103), 0o600, -1)
	if err == nil || !strings.Contains(err.Error(), "use a shorter one") {
		t.Errorf("got %v", err)
	}
}
