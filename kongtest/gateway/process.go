package gateway

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"
)

// supervisor runs plugin servers as Kong's worker 0 does: each with its output
// in the error log, and started again when it ends, at most once a second.
type supervisor struct {
	env []string
	log func(level, text string)

	mu        sync.Mutex
	ended     bool // stopped or abandoned
	stop      chan struct{}
	processes map[string]*process // the current one, by server
	running   sync.WaitGroup      // of run
}

// process is one start of a plugin server.
type process struct {
	server *PluginServer
	cmd    *exec.Cmd
	output *os.File      // our end of its standard output and error
	exited chan struct{} // closed when it has ended
	logged chan struct{} // closed when all that it wrote is in the log
}

func newSupervisor(servers []PluginServer, env []string, log func(level, text string)) *supervisor {
	s := &supervisor{env: env, log: log, stop: make(chan struct{}), processes: map[string]*process{}}
	for i := range servers {
		if servers[i].StartCommand != "" {
			s.running.Go(func() { s.run(&servers[i]) })
		}
	}
	return s
}

func (s *supervisor) run(server *PluginServer) {
	for {
		next := time.NewTimer(time.Second)
		s.log("notice", "Starting "+server.Name)
		p, err := s.start(server)
		if err != nil {
			s.log("error", fmt.Sprintf("external pluginserver %q start command %q: %v", server.Name, server.StartCommand, err))
		} else if p == nil {
			return
		} else {
			p.logOutput(s.log)
			select {
			case <-p.exited:
				s.log("notice", fmt.Sprintf("external pluginserver '%s' terminated: %s", server.Name, p.cmd.ProcessState))
			case <-s.stop:
				return
			}
		}
		select {
		case <-next.C:
		case <-s.stop:
			return
		}
	}
}

// start starts a server; it returns nil if the supervisor has ended.
func (s *supervisor) start(server *PluginServer) (*process, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	cmd := exec.Command("/bin/sh", "-c", "exec "+server.StartCommand)
	cmd.Env = s.env
	cmd.Stdout, cmd.Stderr = w, w
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		r.Close()
		return nil, nil
	}
	if err := cmd.Start(); err != nil {
		r.Close()
		return nil, err
	}
	p := &process{server: server, cmd: cmd, output: r, exited: make(chan struct{}), logged: make(chan struct{})}
	s.processes[server.Name] = p
	go func() {
		cmd.Wait()
		close(p.exited)
	}()
	return p, nil
}

// logOutput logs line by line until the process and its children have closed
// their output.
func (p *process) logOutput(log func(level, text string)) {
	defer close(p.logged)
	defer p.output.Close()
	lines := bufio.NewReader(p.output)
	for {
		line, err := lines.ReadString('\n')
		if n := len(line); n > 0 && line[n-1] == '\n' {
			line = line[:n-1]
		}
		if line != "" {
			log("info", fmt.Sprintf("[%s:%d] %s", p.server.Name, p.cmd.Process.Pid, line))
		}
		if err != nil {
			return
		}
	}
}

// list returns the servers that run.
func (s *supervisor) list() []*process {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*process
	for _, p := range s.processes {
		select {
		case <-p.exited:
		default:
			all = append(all, p)
		}
	}
	return all
}

// signal sends a signal to all servers that run.
func (s *supervisor) signal(sig os.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.processes {
		p.cmd.Process.Signal(sig)
	}
}

// terminate ends the servers as a worker does that exits: with SIGTERM. It
// waits for them, and kills those that still run after the timeout. It returns
// their names.
func (s *supervisor) terminate(timeout time.Duration) (killed []string) {
	processes := s.end()
	late := time.NewTimer(timeout)
	defer late.Stop()
	for _, p := range processes {
		p.cmd.Process.Signal(syscall.SIGTERM)
	}
	for _, p := range processes {
		select {
		case <-p.exited:
		case <-late.C:
			late.Reset(0)
			killed = append(killed, p.server.Name)
			p.cmd.Process.Kill()
			<-p.exited
		}
		select {
		case <-p.logged:
		case <-time.After(time.Second): // a child of its own keeps the pipe open
			p.output.Close()
		}
	}
	s.running.Wait()
	return killed
}

// abandon leaves the servers running, as a worker does that crashes. Nobody reads
// their output any more.
func (s *supervisor) abandon() []*process {
	processes := s.end()
	for _, p := range processes {
		p.output.Close()
	}
	s.running.Wait()
	return processes
}

func (s *supervisor) end() []*process {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended = true
		close(s.stop)
	}
	var all []*process
	for _, p := range s.processes {
		all = append(all, p)
	}
	return all
}
