package pluginserver

import (
	"context"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"kong-vault-auth/unixsocket"
	"kong-vault-auth/unixsocket/sockettest"
)

// keptPath is a server whose socket's path is looked after.
type keptPath struct {
	*testing.T
	server   *Server
	socket   *unixsocket.Socket
	orphaned atomic.Bool
	needless atomic.Bool // what keepPath has returned
	ended    atomic.Bool
}

func listen(t *testing.T, path string) *unixsocket.Socket {
	t.Helper()
	s, err := unixsocket.Listen(path, 0o600, -1)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// keep runs a test with fake time: it goes on by n seconds with each wait(n).
func keep(t *testing.T, test func(k *keptPath, wait func(seconds int))) {
	t.Helper()
	dir := sockettest.Dir(t)
	synctest.Test(t, func(t *testing.T) {
		k := &keptPath{T: t, server: NewServer(Plugin{}, Options{}), socket: listen(t, filepath.Join(dir, "s"))}
		defer k.socket.Close()
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			k.needless.Store(k.server.keepPath(ctx, k.socket, k.orphaned.Load))
			k.ended.Store(true)
		}()
		test(k, func(seconds int) {
			time.Sleep(time.Duration(seconds)*time.Second + time.Millisecond)
			synctest.Wait()
		})
		cancel()
		synctest.Wait()
	})
}

// begin has a call run, until the function that it returns is called.
func (k *keptPath) begin() (end func()) {
	c := newConn(k.server, nil)
	c.steps.Add(1)
	k.server.mu.Lock()
	defer k.server.mu.Unlock()
	k.server.conns[c] = struct{}{}
	return func() { c.steps.Add(1) }
}

func (k *keptPath) remove() {
	k.Helper()
	if err := os.Remove(k.socket.Addr().String()); err != nil {
		k.Fatal(err)
	}
}

// is compares the state with what it should be.
func (k *keptPath) is(found, leaving, ended bool) {
	k.Helper()
	if got := k.socket.Check() == nil; got != found {
		k.Errorf("the path leads here: %v (%v)", got, k.socket.Check())
	}
	if got := k.server.leaving.Load() != 0; got != leaving {
		k.Errorf("leaving: %v", got)
	}
	if k.ended.Load() != ended || k.needless.Load() != ended {
		k.Errorf("ended: %v, not needed any more: %v", k.ended.Load(), k.needless.Load())
	}
}

func TestRemovedSocketIsRestored(t *testing.T) {
	keep(t, func(k *keptPath, wait func(int)) {
		for range 3 {
			k.remove()
			wait(1)
			k.is(true, false, false)
		}
	})
}

func TestServerLeavesOnceItsPathIsAnothers(t *testing.T) {
	keep(t, func(k *keptPath, wait func(int)) {
		defer listen(k.T, k.socket.Addr().String()).Close()
		end := k.begin()
		wait(1)
		k.is(false, true, false)
		wait(8)
		k.is(false, true, false)
		wait(60)
		k.is(false, true, false)
		end()
		wait(1)
		k.is(false, true, true)
	})
}

// TestServerGoesOnWhenItsSuccessorIsGone: the upgrade has failed.
func TestServerGoesOnWhenItsSuccessorIsGone(t *testing.T) {
	keep(t, func(k *keptPath, wait func(int)) {
		successor := listen(k.T, k.socket.Addr().String())
		wait(3)
		k.is(false, true, false)
		if err := successor.Close(); err != nil {
			k.Fatal(err)
		}
		wait(1)
		k.is(true, false, false)
		wait(60)
		k.is(true, false, false)
	})
}

// TestOrphanLeaves at once when its path is another's, or gone.
func TestOrphanLeaves(t *testing.T) {
	for name, lose := range map[string]func(*keptPath){
		"replaced": func(k *keptPath) {
			other := listen(k.T, k.socket.Addr().String())
			k.Cleanup(func() { other.Close() })
		},
		"removed": (*keptPath).remove,
	} {
		t.Run(name, func(t *testing.T) {
			keep(t, func(k *keptPath, wait func(int)) {
				k.orphaned.Store(true)
				wait(60)
				k.is(true, false, false)
				lose(k)
				wait(1)
				k.is(false, name == "replaced", true)
			})
		})
	}
}

func TestAPipeThatNobodyReadsIsTold(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if unread(w) {
		t.Error("the pipe is read")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if !unread(w) {
		t.Error("nobody reads the pipe")
	}
}

func TestAnotherParentIsTold(t *testing.T) {
	if !orphaned(os.Getppid() + 1) {
		t.Error("the parent is another one")
	}
}
