package vaultserver

import (
	"fmt"
	"io"
	"os/exec"
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
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the Vault server: %w", err)
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		p.err = cmd.Wait()
		close(p.done)
	}()
	return p, nil
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
