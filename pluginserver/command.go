package pluginserver

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"

	"kong-vault-auth/unixsocket"
)

// Command is the command line of a plugin server.
type Command struct {
	Name        string      // -name, the plugin's name
	KongPrefix  string      // -kong-prefix
	Dump        bool        // -dump
	Version     bool        // -version
	CheckHealth bool        // -check
	EnvFile     string      // -env-file, "" for none
	SocketPath  string      // -socket, or <prefix>/<name>.socket
	SocketMode  fs.FileMode // -socket-mode
	SocketGroup int         // -socket-group as a group id, -1 for none

	socketGiven bool // -socket is there
	inherited   *unixsocket.Socket
}

// ParseCommand reads a command line. The base name of program is the plugin's name
// unless -name says otherwise; of a symbolic link it is the link's own, since
// turning a link to another file is how programs are upgraded.
//
// It writes usage for -help, and returns flag.ErrHelp. For an invalid command line it returns,
// and writes, an error that says what to change.
func ParseCommand(program string, args []string, stderr io.Writer) (*Command, error) {
	c := &Command{SocketGroup: -1}
	f := flag.NewFlagSet(filepath.Base(program), flag.ContinueOnError)
	f.SetOutput(stderr)
	f.Usage = func() {
		fmt.Fprintf(stderr, "%[1]s runs Kong's plugin server. The operator's commands are listed by \"%[1]s help\".\n\nFlags of the plugin server:\n", f.Name())
		f.PrintDefaults()
	}
	f.StringVar(&c.Name, "name", f.Name(), "the plugin's `name`, as in Kong's configuration")
	f.StringVar(&c.KongPrefix, "kong-prefix", "/usr/local/kong", "Kong's `prefix` directory, in which the socket is made")
	f.BoolVar(&c.Dump, "dump", false, "print what Kong's query command must know, and exit")
	f.BoolVar(&c.Version, "version", false, "print the version, and exit")
	f.BoolVar(&c.CheckHealth, "check", false, "exit with status 0 if a plugin server answers at the socket, else with 1")
	f.StringVar(&c.EnvFile, "env-file", "", "`file` of NAME=VALUE lines to add to the environment, which is empty for plugin servers that Kong starts")
	f.StringVar(&c.SocketPath, "socket", "", "`path` of the socket, for a plugin server beside Kong (default <prefix>/<name>.socket)")
	mode := f.String("socket-mode", "0600", "file `mode` of the socket, octal")
	group := f.String("socket-group", "", "`group` whose members may connect too, by name or id")
	if err := f.Parse(args); err != nil {
		return nil, err
	}
	err := c.check(f, *mode, *group)
	if err != nil {
		fmt.Fprintf(stderr, "%s: %v\n", f.Name(), err)
	}
	return c, err
}

func (c *Command) check(f *flag.FlagSet, mode, group string) error {
	if f.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: see -help for the plugin server, or \"%s help\" for the operator's commands", f.Arg(0), f.Name())
	}
	c.socketGiven = c.SocketPath != ""
	if !c.socketGiven {
		c.SocketPath = filepath.Join(c.KongPrefix, c.Name+".socket")
	}
	m, err := strconv.ParseUint(mode, 8, 32)
	if err != nil || m > 0o777 {
		return fmt.Errorf("-socket-mode %q is not an octal file mode such as 0600", mode)
	}
	c.SocketMode = fs.FileMode(m)
	if group == "" {
		return nil
	}
	if g, err := user.LookupGroup(group); err == nil {
		group = g.Gid
	}
	if c.SocketGroup, err = strconv.Atoi(group); err != nil {
		return fmt.Errorf("-socket-group %q is not a group of this machine", group)
	}
	return nil
}

// Inherit takes over the socket that systemd passes on (LISTEN_FDS), if it does. It is then
// the command's socket.
func (c *Command) Inherit() error {
	s, err := unixsocket.Inherit()
	if s == nil || err != nil {
		return err
	}
	path := s.Addr().String()
	if c.socketGiven && c.SocketPath != path {
		return fmt.Errorf("-socket is %s, and the socket that was passed on (LISTEN_FDS) is at %s: leave -socket out, or make them equal", c.SocketPath, path)
	}
	c.inherited, c.SocketPath = s, path
	return nil
}

// ListenAndServe serves a plugin, and others by their names, on the command's socket
// until ctx ends or another server has taken the path over. It returns nil after either.
func (c *Command) ListenAndServe(ctx context.Context, p Plugin, others map[string]Plugin, log *Log) error {
	socket := c.inherited
	if socket == nil {
		var err error
		if socket, err = unixsocket.Listen(c.SocketPath, c.SocketMode, c.SocketGroup); err != nil {
			return err
		}
	}
	s := NewServer(p, Options{Name: c.Name, Others: others, Log: log, Allow: unixsocket.PeerCheck(os.Getuid(), c.SocketGroup)})
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	parent := os.Getppid()
	go func() {
		if s.keepPath(ctx, socket, func() bool { return orphaned(parent) }) {
			s.logger.Info("another plugin server has taken over the socket: stopping", "reason", "takeover")
			stop()
		}
		// Is there another server for Kong, or soon?
		if socket.Inherited() || errors.Is(socket.Check(), unixsocket.ErrTaken) {
			s.Leave(true)
		}
	}()
	if err := s.Serve(ctx, socket); err != nil && !errors.Is(err, fs.ErrClosed) {
		return fmt.Errorf("socket %s: %w", c.SocketPath, err)
	}
	return nil
}
