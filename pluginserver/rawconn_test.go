package pluginserver

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// socketPair returns the two ends of a unix socket, this side's as the server uses it.
func socketPair(t *testing.T) (ours *rawConn, theirs *net.UnixConn) {
	t.Helper()
	address := &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"}
	l, err := net.ListenUnix("unix", address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	theirs, err = net.DialUnix("unix", nil, address)
	if err != nil {
		t.Fatal(err)
	}
	accepted, err := l.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	ours, err = newRawConn(accepted)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ours.Close(); theirs.Close() })
	return ours, theirs
}

// Eight megabytes don't fit into a socket's buffer: both sides have to wait.
func TestRawConnMovesMoreThanASocketHolds(t *testing.T) {
	ours, theirs := socketPair(t)
	want := bytes.Repeat([]byte("0123456789abcdef"), maxFrame/16)
	go func() {
		_, _ = io.Copy(theirs, theirs) // what goes wrong shows in what comes back
		theirs.CloseWrite()
	}()
	writing := make(chan error, 1)
	go func() {
		n, err := ours.Write(want)
		if err == nil && n != len(want) {
			err = io.ErrShortWrite
		}
		ours.CloseWrite()
		writing <- err
	}()
	got, err := io.ReadAll(ours)
	if err != nil {
		t.Fatal(err)
	}
	if err := <-writing; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%d bytes came back, want the %d that were sent", len(got), len(want))
	}
}

func TestRawConnEnds(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(ours *rawConn, theirs *net.UnixConn) error
		read error
	}{
		"the other side has closed": {func(_ *rawConn, theirs *net.UnixConn) error { return theirs.Close() }, io.EOF},
		"this side has closed":      {func(ours *rawConn, _ *net.UnixConn) error { return ours.Close() }, net.ErrClosed},
		"a deadline has passed": {func(ours *rawConn, _ *net.UnixConn) error {
			return ours.SetDeadline(time.Unix(1, 0))
		}, os.ErrDeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			ours, theirs := socketPair(t)
			got := make(chan error, 1)
			go func() {
				_, err := ours.Read(make([]byte, 1))
				got <- err
			}()
			if err := tt.end(ours, theirs); err != nil {
				t.Fatal(err)
			}
			if err := <-got; !errors.Is(err, tt.read) {
				t.Errorf("Read returned %v, want %v", err, tt.read)
			}
		})
	}
}

func TestRawConnWriteFails(t *testing.T) {
	ours, theirs := socketPair(t)
	theirs.Close()
	if n, err := ours.Write([]byte("x")); !errors.Is(err, syscall.EPIPE) || n != 0 {
		t.Errorf("Write to a socket whose other side has closed: %d, %v, want 0, %v", n, err, syscall.EPIPE)
	}
	if n, err := ours.Write(nil); n != 0 || err != nil {
		t.Errorf("Write of nothing: %d, %v", n, err)
	}
	if n, err := ours.Read(nil); n != 0 || err != nil {
		t.Errorf("Read of nothing: %d, %v", n, err)
	}
}
