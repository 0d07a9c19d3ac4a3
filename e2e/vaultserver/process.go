package vaultserver

import (
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// stopTimeout is how long a program has between SIGTERM and SIGKILL.
const stopTimeout = 10 * time.Second

// process is a running program.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how it ended; to be read after done
}

func startProcess(program string, log io.Writer, args ...string) (*process, error) {
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = dieWithParent()
	p := &process{cmd: cmd, done: make(chan struct{})}
	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start the Vault server: %w", err)
	}
	return p, nil
}

// run starts the program and waits for its end, on a thread that lives as long:
// what dieWithParent asks for, Linux does when the thread ends that has started
// the program, and Go ends threads as it likes.
func (p *process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err == nil {
		p.err = p.cmd.Wait()
		close(p.done)
	}
}

// stop ends the program and returns when it is gone.
func (p *process) stop() error {
	kill := time.AfterFunc(stopTimeout, func() { p.cmd.Process.Kill() })
	defer kill.Stop()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		<-p.done
		return fmt.Errorf("the Vault server had ended before: %v", p.err)
	}
	<-p.done
	return nil
}
