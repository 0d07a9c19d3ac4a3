package program

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
)

// TestProgramOutlivesTheThreadThatStartedIt: Go ends a thread when a goroutine ends that has
// kept the thread to itself.
func TestProgramOutlivesTheThreadThatStartedIt(t *testing.T) {
	var p *Program
	var err error
	var task string
	onThreadThatEnds(func() {
		task = fmt.Sprint("/proc/self/task/", syscall.Gettid())
		p, err = Run(exec.Command("sleep", "600"))
	})
	if err != nil {
		t.Fatal(err)
	}
	Eventually(t, "that thread has ended", func() bool { _, err := os.Stat(task); return os.IsNotExist(err) })
	if err := p.Stop(); err != nil || p.Err().Error() != "signal: terminated" {
		t.Errorf("%v, %v", err, p.Err())
	}
}

func TestStopTellsOfAProgramThatHadEnded(t *testing.T) {
	p, err := Run(exec.Command("sh", "-c", "echo in vain; exit 3"))
	if err != nil {
		t.Fatal(err)
	}
	if p.Err() == nil || p.Output.String() != "in vain\n" {
		t.Errorf("%v, %q", p.Err(), p.Output.String())
	}
	if err := p.Stop(); err == nil || !strings.Contains(err.Error(), "sh ended before it was stopped: exit status 3") {
		t.Error(err)
	}
}

// onThreadThatEnds returns when f has, and its thread ends.
func onThreadThatEnds(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		if syscall.Gettid() == syscall.Getpid() { // that one ends with the process
			defer runtime.UnlockOSThread()
			onThreadThatEnds(f)
			return
		}
		f()
	}()
	<-done
}
