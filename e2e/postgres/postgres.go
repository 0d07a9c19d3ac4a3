// Package postgres runs this machine's PostgreSQL on loopback, for tests with a database that
// stops, hangs, and comes back.
package postgres

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"kong-vault-auth/e2e/program"
)

// ErrNotInstalled says that this machine has no PostgreSQL server.
var ErrNotInstalled = errors.New("no PostgreSQL server is installed (on Debian: apt-get install postgresql)")

// Server is a cluster with an empty database kong that belongs to a user kong
// without a password. Its methods are not for concurrent use.
type Server struct {
	Addr string // host and port, the same from start to start

	bin, dir string
	owner    *syscall.Credential // the user that runs it; nil for this one
	cmd      *exec.Cmd
	output   bytes.Buffer
}

// Start creates a cluster and starts it. If root runs the test, the cluster belongs to the user
// postgres, since PostgreSQL refuses to run as root.
func Start() (_ *Server, err error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err != nil {
		return nil, err
	}
	if len(found) == 0 {
		return nil, ErrNotInstalled
	}
	s := &Server{bin: filepath.Dir(found[len(found)-1])}
	if s.dir, err = os.MkdirTemp("", "postgres"); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.Close())
		}
	}()
	if os.Getuid() == 0 {
		if err := s.giveTo("postgres"); err != nil {
			return nil, err
		}
	}
	if s.Addr, err = program.FreeAddr(); err != nil {
		return nil, err
	}
	if err := s.run("initdb", "-D", s.data(), "-U", "kong", "-A", "trust", "--no-sync"); err != nil {
		return nil, err
	}
	if err := s.Restart(); err != nil {
		return nil, err
	}
	host, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return nil, err
	}
	return s, s.run("createdb", "-h", host, "-p", port, "-U", "kong", "kong")
}

// RequirePassword gives the user kong a password, which connections over TCP need from then on.
func (s *Server) RequirePassword(password string) error {
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return err
	}
	quoted := strings.ReplaceAll(password, "'", "''")
	if err := s.run("psql", "-h", s.dir, "-p", port, "-U", "kong", "-c", "ALTER USER kong PASSWORD '"+quoted+"'", "kong"); err != nil {
		return err
	}
	rules := "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
	if err := os.WriteFile(filepath.Join(s.data(), "pg_hba.conf"), []byte(rules), 0o600); err != nil {
		return err
	}
	return s.run("pg_ctl", "-D", s.data(), "reload")
}

func (s *Server) giveTo(name string) error {
	u, err := user.Lookup(name)
	if err != nil {
		return err
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return err
	}
	s.owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(s.dir, int(uid), int(gid))
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

func (s *Server) command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, name), args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner}
	return cmd
}

func (s *Server) run(name string, args ...string) error {
	if out, err := s.command(name, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", name, err, out)
	}
	return nil
}

// Restart starts a server that was stopped, and returns when it answers.
func (s *Server) Restart() error {
	host, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return err
	}
	s.output.Reset()
	s.cmd = s.command("postgres", "-D", s.data(), "-h", host, "-p", port, "-k", s.dir, "-c", "fsync=off")
	s.cmd.Stdout, s.cmd.Stderr = &s.output, &s.output
	if err := s.cmd.Start(); err != nil {
		return err
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := s.run("pg_isready", "-h", host, "-p", port)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return errors.Join(err, s.Stop(), errors.New(s.output.String()))
		}
	}
}

// Stop ends the server: connections are refused from then on.
func (s *Server) Stop() error {
	if s.cmd == nil {
		return nil
	}
	// Its fast shutdown, which doesn't wait for clients.
	if err := s.cmd.Process.Signal(syscall.SIGINT); err != nil {
		return err
	}
	err := s.cmd.Wait()
	s.cmd = nil
	return err
}

// Hang stops the server, and each process that serves a connection, until Continue: clients
// wait.
func (s *Server) Hang() error { return s.signal(syscall.SIGSTOP) }

// Continue ends Hang.
func (s *Server) Continue() error { return s.signal(syscall.SIGCONT) }

func (s *Server) signal(sig syscall.Signal) error {
	pid := s.cmd.Process.Pid
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", pid))
	if err != nil {
		return err
	}
	for _, field := range append(bytes.Fields(children), strconv.AppendInt(nil, int64(pid), 10)) {
		child, err := strconv.Atoi(string(field))
		if err != nil {
			return err
		}
		if err := syscall.Kill(child, sig); err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

// Close ends the server and removes what it held.
func (s *Server) Close() error {
	return errors.Join(s.Stop(), os.RemoveAll(s.dir))
}
