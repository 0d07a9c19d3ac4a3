package e2e

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"kong-vault-auth/e2e/program"
	simulation "kong-vault-auth/kongtest/gateway"
	"kong-vault-auth/pluginserver/servertest"
)

// supervisor is who starts a gateway's plugin servers.
type supervisor int

const (
	// apart is the default: each runs by itself, as in its own container, and is
	// restarted when it ends.
	apart supervisor = iota
	// systemd is apart, with a socket that is passed on.
	systemd
	// kong has a start command.
	kong
)

func (s supervisor) String() string { return [...]string{"apart", "systemd", "kong"}[s] }

// pluginServer is one that runs apart from Kong.
type pluginServer struct {
	t        *testing.T
	command  []string
	env      []string
	socket   string
	listener *os.File // to be passed on; nil if the server listens by itself
	output   servertest.Buffer

	mu      sync.Mutex
	current *serverProcess // guarded by mu
	stopped bool           // guarded by mu
}

// serverProcess is one start of a plugin server.
type serverProcess struct {
	*program.Program
	retired bool // not to be started again; guarded by pluginServer.mu
}

// startServer starts a plugin server, and returns when it listens. It ends with
// the test.
func startServer(t *testing.T, by supervisor, socket string, env []string, command ...string) *pluginServer {
	t.Helper()
	s := &pluginServer{t: t, command: command, env: append(os.Environ(), env...), socket: socket}
	if by == systemd {
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		if s.listener, err = l.File(); err != nil {
			t.Fatal(err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(s.stop)
	s.start()
	program.Eventually(t, socket+" is listened on", func() bool { return program.Listens("unix", socket) })
	return s
}

// start starts a process, which is the current one from then on.
func (s *pluginServer) start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped {
		return
	}
	command, env := s.command, s.env
	var files []*os.File
	if s.listener != nil {
		command = append([]string{"/bin/sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`}, command...)
		env = append(slices.Clip(env), "LISTEN_FDS=1")
		files = []*os.File{s.listener} // becomes descriptor 3
	}
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env, cmd.ExtraFiles, cmd.Stdout, cmd.Stderr = env, files, &s.output, &s.output
	started, err := program.Run(cmd)
	if err != nil {
		s.t.Error(err)
		return
	}
	p := &serverProcess{Program: started}
	s.current = p
	go func() {
		<-p.Done()
		s.mu.Lock()
		defer s.mu.Unlock()
		if !p.retired {
			time.AfterFunc(restartPause, s.start)
		}
	}()
}

// restartPause is systemd's RestartSec, and docker's first pause.
const restartPause = 100 * time.Millisecond

// retire marks the current process as not to be restarted, and returns it.
func (s *pluginServer) retire() *serverProcess {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.current.retired = true
	return s.current
}

// end ends a process with SIGTERM, and returns when it has ended.
func (s *pluginServer) end(p *serverProcess) {
	s.t.Helper()
	select {
	case <-p.Done(): // it was killed
	default:
		if err := p.Stop(); err != nil {
			s.t.Error(err)
		}
	}
}

// upgrade starts another process on the socket's path, and ends the old one once the path leads
// to the new one.
func (s *pluginServer) upgrade() {
	s.t.Helper()
	before, err := os.Lstat(s.socket)
	if err != nil {
		s.t.Fatal(err)
	}
	old := s.retire()
	s.start()
	program.Eventually(s.t, "the new plugin server has the socket", func() bool {
		now, err := os.Lstat(s.socket)
		return err == nil && !os.SameFile(before, now)
	})
	s.end(old)
}

// restart ends the process, and then starts another.
func (s *pluginServer) restart() {
	s.t.Helper()
	s.end(s.retire())
	s.start()
}

// pid is the current process's id.
func (s *pluginServer) pid() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.current.PID()
}

func (s *pluginServer) stop() {
	s.mu.Lock()
	s.stopped = true
	started := s.current != nil
	s.mu.Unlock()
	if started {
		s.end(s.retire())
	}
	if s.listener != nil {
		s.listener.Close()
	}
	if s.t.Failed() {
		s.t.Logf("%s has printed:\n%s", filepath.Base(s.command[0]), &s.output)
	}
}

// deployment is where a gateway's plugin servers are.
type deployment struct {
	servers []simulation.PluginServer
	server  *pluginServer // vault-auth, nil if Kong starts it
}

// deploy starts the plugin servers, unless Kong does. prefix is Kong's.
func deploy(t *testing.T, by supervisor, prefix string, env []string) deployment {
	t.Helper()
	var d deployment
	for _, name := range []string{"vault-auth", "early-auth"} {
		program := filepath.Join(plugins, name)
		if by == kong {
			d.servers = append(d.servers, simulation.Binary(program, prefix))
			continue
		}
		socket := filepath.Join(prefix, "apart", name+".socket")
		if err := os.MkdirAll(filepath.Dir(socket), 0o700); err != nil {
			t.Fatal(err)
		}
		d.servers = append(d.servers, simulation.PluginServer{Name: name, Socket: socket, QueryCommand: program + " -dump"})
		switch {
		case name == "early-auth": // with go-pdk's server
			startServer(t, apart, socket, env, program, "-kong-prefix", filepath.Dir(socket))
		case by == systemd:
			d.server = startServer(t, by, socket, env, program)
		default:
			d.server = startServer(t, by, socket, env, program, "-socket", socket)
		}
	}
	// The second plugin of vault-auth's process.
	d.servers = append(d.servers, simulation.PluginServer{
		Name: "vault-secrets", Socket: d.Socket(), QueryCommand: filepath.Join(plugins, "vault-auth") + " -name vault-secrets -dump",
	})
	return d
}

// Server is vault-auth, or nil if Kong has started it.
func (d *deployment) Server() *pluginServer { return d.server }

// Socket is where Kong finds vault-auth.
func (d *deployment) Socket() string { return d.servers[0].Socket }
