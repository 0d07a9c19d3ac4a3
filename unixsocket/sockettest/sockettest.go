// Package sockettest helps tests that listen on unix sockets.
package sockettest

import (
	"net"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Dir is a folder that is removed with the test, with a path short enough for sockets:
// t.TempDir's can exceed the 107 bytes of a socket's address.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "s")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Stranger is the id of a user and of a group that no machine has.
const Stranger = 54321

// DialAs connects to a socket as the user and the group Stranger with these supplementary
// groups. The modes of the socket and of its folder are changed so that they allow it. It
// skips the test unless that runs as root.
func DialAs(t testing.TB, path string, groups ...uint32) net.Conn {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root can be somebody else")
	}
	for path, mode := range map[string]os.FileMode{path: 0o666, filepath.Dir(path): 0o755} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	type dialed struct {
		net.Conn
		err error
	}
	done := make(chan dialed, 1)
	go func() {
		// The thread becomes that user, and ends with this goroutine.
		runtime.LockOSThread()
		for _, call := range [][4]uintptr{
			{unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(unsafe.SliceData(groups)))},
			{unix.SYS_SETRESGID, Stranger, Stranger, Stranger},
			{unix.SYS_SETRESUID, Stranger, Stranger, Stranger},
		} {
			if _, _, errno := unix.RawSyscall(call[0], call[1], call[2], call[3]); errno != 0 {
				done <- dialed{err: errno}
				return
			}
		}
		c, err := net.Dial("unix", path)
		done <- dialed{c, err}
	}()
	d := <-done
	if d.err != nil {
		t.Fatal(d.err)
	}
	t.Cleanup(func() { d.Close() })
	return d.Conn
}
