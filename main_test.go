package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"kong-vault-auth/kongtest"
	"kong-vault-auth/unixsocket/sockettest"
)

func TestMaxCredentials(t *testing.T) {
	for setting, want := range map[string]int{"": 0, "1": 1, "250000": 250_000, "100000000": 100_000_000} {
		if got, err := maxCredentials(setting); got != want || err != nil {
			t.Errorf("%q: %d, %v", setting, got, err)
		}
	}
	for _, setting := range []string{"0", "-1", "1e5", "100_000", "many", " 1", "100000001", "99999999999999999999"} {
		if got, err := maxCredentials(setting); err == nil || !strings.Contains(err.Error(), setting) {
			t.Errorf("%q: %d, %v", setting, got, err)
		}
	}
}

func TestServerDoesNotStartWithABadSetting(t *testing.T) {
	for name, tt := range map[string]struct{ setting, says string }{
		"VAULT_AUTH_MAX_CREDENTIALS": {"many", `it must be a whole number between 1 and 100000000, not "many"`},
		"VAULT_AUTH_KONG_STATUS":     {"127.0.0.1:8007", `it must be off or a URL, such as http://127.0.0.1:8007, not "127.0.0.1:8007"`},
		"VAULT_AUTH_BLOCKS_FILE":     {"blocks", `it must be the whole path of a file, not "blocks"`},
		"VAULT_AUTH_EVENTS":          {"redis.internal:6379", "it must be a URL such as rediss://vault-auth@redis.internal:6379"},
		"VAULT_AUTH_CONTROL":         {"control", `it must be the absolute path of a socket, such as /run/vault-auth/vault-auth-control.socket, not "control"; off turns it off`},
		"VAULT_AUTH_METRICS_LISTEN":  {"9542", `it must be host:port, such as 127.0.0.1:9542, or unix:/path, not "9542"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, tt.setting)
			prefix := t.TempDir()
			said := stderr(t, func() {
				if status := run(context.Background(), []string{"-kong-prefix", prefix}); status != 1 {
					t.Errorf("exit status %d", status)
				}
			})
			if !strings.Contains(said, name+": "+tt.says) {
				t.Errorf("it says %q", said)
			}
			if sockets, _ := filepath.Glob(filepath.Join(prefix, "*.socket")); len(sockets) > 0 {
				t.Errorf("it listens on %v", sockets)
			}
		})
	}
}

// stderr is what f writes to standard error.
func stderr(t *testing.T, f func()) string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stderr
	os.Stderr = w
	defer func() { os.Stderr = before }()
	f()
	w.Close()
	said, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(said)
}

func TestMetricsAreNotServedOnTheSocketOfKong(t *testing.T) {
	socket := filepath.Join(t.TempDir(), "s")
	t.Setenv("VAULT_AUTH_METRICS_LISTEN", "unix:"+socket)
	ctx, cancel := context.WithCancel(context.Background())
	cancel() // a server that starts stops at once
	said := stderr(t, func() {
		if status := run(ctx, []string{"-socket", socket}); status != 1 {
			t.Errorf("exit status %d", status)
		}
	})
	if want := "VAULT_AUTH_METRICS_LISTEN: the socket is the one that Kong connects to"; !strings.Contains(said, want) {
		t.Errorf("it says %q", said)
	}
}

// TestMain becomes the program where a test has started it as such.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	os.Exit(m.Run())
}

const asProgram = "VAULT_AUTH_TEST_AS_PROGRAM"

// program is a command line of the program, by way of a link with that name.
func program(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	test, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(test, link); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), link, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	return cmd
}

// TestPluginIsNamedAfterTheLink to a program, not after what the link points to. By its
// name, it is one plugin or the other.
func TestPluginIsNamedAfterTheLink(t *testing.T) {
	type plugin struct {
		Name     string
		Priority int
	}
	auth, secrets := plugin{"vault-auth", 1350}, plugin{"vault-secrets", 790}
	for name, tt := range map[string]struct {
		args []string
		want plugin
	}{
		"vault-auth":       {[]string{"-dump"}, auth},
		"vault-auth-1.2.3": {[]string{"-name", "vault-auth", "-dump"}, auth},
		"my-auth":          {[]string{"-dump"}, plugin{"my-auth", 1350}},
		"vault-secrets":    {[]string{"-dump"}, secrets},
		"vault-auth-2":     {[]string{"-name", "vault-secrets", "-dump"}, secrets},
	} {
		args := tt.args
		t.Run(name, func(t *testing.T) {
			out, err := program(t, name, args...).Output()
			if err != nil {
				t.Fatal(err)
			}
			var dump struct{ Plugins []plugin }
			if err := json.Unmarshal(out, &dump); err != nil || len(dump.Plugins) != 1 || dump.Plugins[0] != tt.want {
				t.Errorf("%v, %v", dump, err)
			}
		})
	}
}

// TestSubcommandIsTheOperators and nothing else is: Kong's command lines all begin with
// a flag.
func TestSubcommandIsTheOperators(t *testing.T) {
	for name, tt := range map[string]struct {
		args   []string
		status int
		says   string
	}{
		"subcommand":            {[]string{"version"}, 0, version + "\n"},
		"help":                  {[]string{"help", "version"}, 0, "Show the program's version"},
		"subcommand of a shell": {[]string{"__complete", "vers"}, 0, "version\t"},
		"misspelt subcommand":   {[]string{"verison"}, 2, `unexpected argument "verison": see -help for the plugin server, or "vault-auth help" for the operator's commands`},
		"subcommand after flag": {[]string{"-name", "x", "version"}, 2, `unexpected argument "version"`},
		"plugin server's flag":  {[]string{"-version"}, 0, version + "\n"},
		"plugin server's help":  {[]string{"--help"}, 0, "-socket-mode"},
		"health check":          {[]string{"-check", "-socket", "/nonexistent/socket"}, 1, "vault-auth: "},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := program(t, "vault-auth", tt.args...)
			out, err := cmd.CombinedOutput()
			if cmd.ProcessState.ExitCode() != tt.status || !strings.Contains(string(out), tt.says) {
				t.Errorf("%v, it says %q", err, out)
			}
		})
	}
}

// start starts a command, which ends with the test at the latest.
func start(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	log := &strings.Builder{}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		if t.Failed() {
			t.Log(log)
		}
	})
}

// check says whether a server answers at a socket.
func check(t *testing.T, socket string) error {
	return program(t, "vault-auth", "-check", "-socket", socket).Run()
}

// server starts the program and returns when it answers at its socket.
func server(t *testing.T) (cmd *exec.Cmd, socket string) {
	t.Helper()
	socket = filepath.Join(sockettest.Dir(t), "s")
	cmd = program(t, "vault-auth", "-socket", socket)
	start(t, cmd)
	for late := time.Now().Add(30 * time.Second); check(t, socket) != nil; {
		if time.Now().After(late) {
			t.Fatal("the server does not answer")
		}
	}
	return cmd, socket
}

func TestHangUpDoesNotEndTheServer(t *testing.T) {
	cmd, socket := server(t)
	for range 3 {
		if err := cmd.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
		if err := check(t, socket); err != nil {
			t.Fatal(err)
		}
	}
}

// TestServerStopsInOrder at every signal that asks for it: its socket is gone.
func TestServerStopsInOrder(t *testing.T) {
	for name, signal := range map[string]os.Signal{
		"SIGTERM": syscall.SIGTERM, "SIGINT": os.Interrupt, "SIGQUIT, the stop signal of Kong's image": syscall.SIGQUIT,
	} {
		t.Run(name, func(t *testing.T) {
			cmd, socket := server(t)
			if err := cmd.Process.Signal(signal); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Wait(); err != nil {
				t.Error(err)
			}
			if _, err := os.Lstat(socket); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the socket's file: %v", err)
			}
		})
	}
}

// passOn has a command inherit a listener as systemd's services do.
func passOn(t *testing.T, cmd *exec.Cmd, listener *os.File) *exec.Cmd {
	t.Helper()
	sh := exec.CommandContext(t.Context(), "/bin/sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`}, cmd.Args...)...)
	sh.Env = append(cmd.Env, "LISTEN_FDS=1")
	sh.ExtraFiles = []*os.File{listener} // becomes descriptor 3
	return sh
}

// TestInheritedSocketOutlivesTheServer: what connects while no server runs is
// answered by the next one.
func TestInheritedSocketOutlivesTheServer(t *testing.T) {
	socket := filepath.Join(sockettest.Dir(t), "s")
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	before, err := os.Lstat(socket)
	if err != nil {
		t.Fatal(err)
	}
	for _, end := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL, syscall.SIGTERM} {
		answered := make(chan error, 1)
		go func() {
			_, err := kongtest.NewClient(socket).StartInstance("vault-auth", []byte("{}"))
			answered <- err
		}()
		cmd := passOn(t, program(t, "vault-auth"), file)
		start(t, cmd)
		if err := <-answered; err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(end); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil && end == syscall.SIGTERM {
			t.Error(err)
		}
		after, err := os.Lstat(socket)
		if err != nil || !os.SameFile(before, after) {
			t.Errorf("after %s the socket's file is another: %v", end, err)
		}
	}
}

func TestSocketThatCannotBeInheritedIsRefused(t *testing.T) {
	tcp, err := net.ListenTCP("tcp", &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	unix, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(sockettest.Dir(t), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close()
	for name, tt := range map[string]struct {
		listener interface{ File() (*os.File, error) }
		args     []string
		says     string
	}{
		"no unix socket": {tcp, nil, "must be one unix stream socket"},
		"another path":   {unix, []string{"-socket", "/run/another"}, "-socket is /run/another, and the socket that was passed on (LISTEN_FDS) is at " + unix.Addr().String()},
	} {
		t.Run(name, func(t *testing.T) {
			file, err := tt.listener.File()
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			out, err := passOn(t, program(t, "vault-auth", tt.args...), file).CombinedOutput()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(string(out), tt.says) {
				t.Errorf("%v, it says %q", err, out)
			}
		})
	}
}
