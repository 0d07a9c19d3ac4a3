// Package program runs other programs, for as long as a test or a tool lasts.
package program

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"kong-vault-auth/pluginserver/servertest"
)

// stopTimeout is how long a program has between SIGTERM and SIGKILL.
const stopTimeout = 30 * time.Second

// Program is a running program. It ends at the latest with this process, so that a test that
// is killed leaves nothing behind.
type Program struct {
	Output servertest.Buffer // what it has written, unless its command says where to write

	cmd   *exec.Cmd
	done  chan struct{} // closed when it has ended
	err   error         // how it ended; to be read after done
	ended atomic.Bool   // Stop or Kill was called
}

// Run starts a program.
func Run(cmd *exec.Cmd) (*Program, error) {
	p := &Program{cmd: cmd, done: make(chan struct{})}
	if cmd.Stdout == nil && cmd.Stderr == nil {
		cmd.Stdout, cmd.Stderr = &p.Output, &p.Output
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	dieWithParent(cmd.SysProcAttr)
	cmd.WaitDelay = stopTimeout // a child of its own may keep the output open
	started := make(chan error)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", p.name(), err)
	}
	return p, nil
}

// run starts the program and waits for its end, on a thread that lives as long: Linux ends a
// child with the thread that started it, and Go ends threads as it likes.
func (p *Program) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := p.cmd.Start()
	started <- err
	if err == nil {
		p.err = p.cmd.Wait()
		close(p.done)
	}
}

func (p *Program) name() string { return filepath.Base(p.cmd.Path) }

// PID is the program's process id.
func (p *Program) PID() int { return p.cmd.Process.Pid }

// Done is closed when the program has ended.
func (p *Program) Done() <-chan struct{} { return p.done }

// Err is how the program ended, nil if with status 0. It waits for the end.
func (p *Program) Err() error {
	<-p.done
	return p.err
}

// Stop ends the program with SIGTERM and returns when it has ended. It fails if the program
// ended before, or had to be killed.
func (p *Program) Stop() error {
	p.ended.Store(true)
	var killed atomic.Bool
	kill := time.AfterFunc(stopTimeout, func() {
		killed.Store(true)
		_ = p.cmd.Process.Kill()
	})
	defer kill.Stop()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("%s ended before it was stopped: %v", p.name(), p.Err())
	}
	<-p.done
	if killed.Load() {
		return fmt.Errorf("%s did not end within %s of SIGTERM", p.name(), stopTimeout)
	}
	return nil
}

// Kill kills the program and returns when it has ended.
func (p *Program) Kill() {
	p.ended.Store(true)
	_ = p.cmd.Process.Kill() // or it has ended
	<-p.done
}

// FreeAddr is a loopback address that nothing listens at. It is below the ports that systems
// give to programs that don't ask for one: another program listens there a moment later, and
// perhaps again after a pause, and until then nobody else must have taken it.
func FreeAddr() (addr string, err error) {
	for range 100 {
		addr = fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(12_000))
		var l net.Listener
		if l, err = net.Listen("tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", err
}

// Listens reports whether something listens at an address.
func Listens(network, address string) bool {
	c, err := net.Dial(network, address)
	if err == nil {
		c.Close()
	}
	return err == nil
}

// MemoryMiB is a process's resident memory, 0 where it can't be found out.
func MemoryMiB(pid int) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	kib, _, _ := strings.Cut(strings.TrimSpace(after), " ")
	n, _ := strconv.Atoi(kib)
	return n >> 10
}
