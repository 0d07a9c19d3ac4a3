package unixsocket

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kong-vault-auth/unixsocket/sockettest"
)

func listen(t *testing.T, path string) *Socket {
	t.Helper()
	s, err := Listen(path, 0o600, -1)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSocketIsPrivateAndRemovedAtClose(t *testing.T) {
	path := filepath.Join(sockettest.Dir(t), "p.socket")
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
	path := filepath.Join(sockettest.Dir(t), "p.socket")
	first, second := listen(t, path), listen(t, path)
	if err := first.Check(); !errors.Is(err, ErrTaken) {
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

func TestSocketWithoutAFolderIsExplained(t *testing.T) {
	_, err := Listen(filepath.Join(sockettest.Dir(t), "missing", "p.socket"), 0o600, -1)
	if err == nil || !strings.Contains(err.Error(), "its folder must exist, and this user must be able to write to it") {
		t.Errorf("it says %v", err)
	}
}

func TestSocketThatWasRemovedComesBack(t *testing.T) {
	path := filepath.Join(sockettest.Dir(t), "p.socket")
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
	if err := s.Restore(); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 || s.Check() != nil {
		t.Errorf("%v, %v, %v", info, err, s.Check())
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
	path := filepath.Join(sockettest.Dir(t), "p.socket")
	first := listen(t, path)
	defer first.Close()
	second := listen(t, path)
	defer second.Close()
	if err := first.Restore(); !errors.Is(err, fs.ErrExist) {
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
	_, err := Listen("/tmp/"+strings.Repeat("x", 103), 0o600, -1)
	if err == nil || !strings.Contains(err.Error(), "use a shorter one") {
		t.Errorf("got %v", err)
	}
}

func TestTheLongestPathCanBeListenedOn(t *testing.T) {
	dir := sockettest.Dir(t)
	path, err := ParsePath(filepath.Join(dir, strings.Repeat("x", maxPath-len(dir)-1)), "/s")
	if err != nil {
		t.Fatal(err)
	}
	listen(t, path).Close()
	if _, err := ParsePath(path+"x", "/s"); err == nil || !strings.Contains(err.Error(), "91") {
		t.Errorf("got %v", err)
	}
}

func TestSocketTakesThePlaceOfNoFile(t *testing.T) {
	path := filepath.Join(sockettest.Dir(t), "precious")
	if err := os.WriteFile(path, []byte("data"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(path, 0o600, -1); err == nil || !strings.Contains(err.Error(), "is not a socket") {
		t.Errorf("%v", err)
	}
	if b, err := os.ReadFile(path); string(b) != "data" {
		t.Errorf("it holds %q, %v", b, err)
	}
}

// A removed file comes back within a period; another server's stays. Time is virtual.
func TestKeep(t *testing.T) {
	dir := sockettest.Dir(t)
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(dir, "s")
		s := listen(t, path)
		defer s.Close()
		ctx, cancel := context.WithCancel(t.Context())
		var failures []error
		go s.Keep(ctx, time.Minute, func(err error) { failures = append(failures, err) })
		wait := func() {
			time.Sleep(time.Minute + time.Second)
			synctest.Wait()
		}
		for range 2 {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			wait()
			if err := s.Check(); err != nil {
				t.Error(err)
			}
		}
		other := listen(t, path)
		wait()
		if err := other.Check(); err != nil {
			t.Errorf("the other server's: %v", err)
		}
		if err := other.Close(); err != nil {
			t.Error(err)
		}
		if err := os.Remove(dir); err != nil {
			t.Fatal(err)
		}
		wait()
		cancel()
		synctest.Wait()
		if len(failures) != 1 || !errors.Is(failures[0], fs.ErrNotExist) {
			t.Errorf("failures: %v", failures)
		}
	})
}
