package vaultserver

import (
	"net/http"
	"runtime"
	"syscall"
	"testing"
)

// TestServerOutlivesTheThreadThatStartedIt: Go ends a thread when a goroutine
// ends that has kept it to itself.
func TestServerOutlivesTheThreadThatStartedIt(t *testing.T) {
	var s *Server
	var err error
	onThreadThatEnds(func() { s, err = Start(t.Context(), Options{}) })
	must(t, err)
	for range 100 {
		if got := status(t, s, s.Token, "sys/health"); got != http.StatusOK {
			t.Fatalf("once that thread has ended, health is answered %d", got)
		}
	}
	must(t, s.Close())
}

// onThreadThatEnds returns when f has, and its thread ends.
func onThreadThatEnds(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if syscall.Gettid() == syscall.Getpid() { // that one ends with the program
			defer runtime.UnlockOSThread()
			onThreadThatEnds(f)
			return
		}
		f()
	}()
	<-done
}
