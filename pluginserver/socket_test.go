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

func TestOnlyOwnUserRootAndGroupMayConnect(t *testing.T) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(socketDir(t), "s")})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if c, err := net.Dial("unix", l.Addr().String()); err == nil {
			defer c.Close()
			c.Read(make([]byte, 1))
		}
	}()
	c, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	peer, err := peerCredentials(c)
	if err != nil || int(peer.Uid) != os.Getuid() {
		t.Fatalf("%+v, %v", peer, err)
	}
	for name, tc := range map[string]struct {
		peer, own, gid int
		groups         []int
		ok             bool
	}{
		"own user":      {peer: 1000, own: 1000, gid: -1, ok: true},
		"root":          {peer: 0, own: 1000, gid: -1, ok: true},
		"other user":    {peer: 1001, own: 1000, gid: -1},
		"in group":      {peer: 1001, own: 1000, gid: 7, groups: []int{5, 7}, ok: true},
		"not in group":  {peer: 1001, own: 1000, gid: 7, groups: []int{5}},
		"group is zero": {peer: 1001, own: 1000, gid: 0, groups: []int{5}},
	} {
		t.Run(name, func(t *testing.T) {
			err := mayConnect(uint32(tc.peer), 99, tc.own, tc.gid, func(uint32) ([]int, error) { return tc.groups, nil })
			if (err == nil) != tc.ok {
				t.Errorf("got %v", err)
			}
		})
	}
}
