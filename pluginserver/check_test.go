package pluginserver_test

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"kong-vault-auth/pluginserver"
)

func TestCheckTellsWhetherAServerAnswers(t *testing.T) {
	dir := t.TempDir()
	running := serve(t, func(*pluginserver.Event) pluginserver.Verdict { return pluginserver.Pass() }, pluginserver.Options{})
	leftBehind := filepath.Join(dir, "left")
	l := listenAt(t, leftBehind)
	l.SetUnlinkOnClose(false)
	l.Close()
	hangs := filepath.Join(dir, "hangs")
	listenAt(t, hangs)
	for name, tc := range map[string]struct {
		socket string
		ok     bool
	}{
		"a server runs":                 {running.Server.Socket, true},
		"a file that was left behind":   {leftBehind, false},
		"no file":                       {filepath.Join(dir, "none"), false},
		"a server that does not answer": {hangs, false},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			if tc.ok {
				ctx = t.Context()
			}
			defer cancel()
			if err := (&pluginserver.Command{SocketPath: tc.socket}).Check(ctx); (err == nil) != tc.ok {
				t.Errorf("%v", err)
			}
		})
	}
}

func listenAt(t *testing.T, path string) *net.UnixListener {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}
