package gateway

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"kong-vault-auth/kongtest"
)

// Options says what a Gateway runs.
type Options struct {
	// Config is the text of a declarative configuration, as in kong.yml.
	// ConfigFile is the path of one, read again at each Reload, and goes before
	// Config.
	Config     string
	ConfigFile string

	// Plugins are executables with go-pdk's command line, run as Binary
	// says. PluginServers are further ones with commands of their own.
	Plugins       []string
	PluginServers []PluginServer

	// Prefix is Kong's prefix, where the sockets of Plugins are. By default a
	// temporary folder with a short name: a socket's path ends at 107 bytes.
	Prefix string

	Listen  string // 127.0.0.1:0
	Workers int    // nginx_worker_processes; 2

	// Env is the environment of Kong itself, os.Environ() if nil: of the query
	// commands and of {vault://env/…} references. The plugin servers get
	// nothing of it but what MainEnv, nginx's main_env directive, names.
	Env     []string
	MainEnv string

	// MaxRetries is how often the event of one request may be run again after
	// the plugin closed its connection. One more fails the test, or the request
	// where there is no test, so that a plugin that closes every time is noticed.
	// -1 is no limit, as in Kong: only a warning.
	MaxRetries int

	// ReloadDelay is how long, at least, the old workers and their plugin
	// servers live on beside the new ones after a reload; 2 s, as Kong's do.
	// Negative for none.
	ReloadDelay time.Duration

	TrustedIPs     []netip.Prefix // trusted_ips
	RealIPHeader   string         // real_ip_header, X-Real-IP: in requests of TrustedIPs, the last address in it is the client's
	BodyBuffer     int            // client_body_buffer_size, 8 KiB
	MaxHeaderBytes int            // of all header lines together, 32 KiB (large_client_header_buffers 4 8k)
	MaxHeaders     int            // header lines; 0 is any number, Kong since 3.9.3 has 1000

	// NoWait starts without waiting for the plugin servers to listen, as Kong
	// does: requests that come earlier are 500.
	NoWait bool

	// ErrorLog gets every line of the error log as it is written, besides what
	// Gateway.ErrorLog keeps. It must not block.
	ErrorLog func(kongtest.LogLine)
}

// Gateway is a small Kong: workers, plugin servers, an HTTP front, and a
// proxy. All methods are safe for concurrent use.
type Gateway struct {
	options  Options
	listener net.Listener
	tb       TB
	lines    lines
	records  records

	databaseDown atomic.Bool

	mu      sync.Mutex
	config  []byte
	current *generation
	orphans []*process
	closed  bool

	closing   chan struct{} // closed by Close
	ending    sync.WaitGroup
	fronts    sync.WaitGroup
	upstreams *upstreams
	removeDir string
}

// TB is what a test or benchmark gives to Start: a testing.TB.
type TB interface {
	Helper()
	Cleanup(func())
	Fatalf(format string, args ...any)
	Errorf(format string, args ...any)
}

// Start starts a gateway for a test and closes it when the test ends.
func Start(tb TB, o Options) *Gateway {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	g, err := run(ctx, tb, o)
	if err != nil {
		tb.Fatalf("%v", err)
		return nil
	}
	tb.Cleanup(g.Close)
	return g
}

// Run starts a gateway. Like kong start it fails if a query command, a
// schema, or the configuration is wrong, and unless Options.NoWait is set also
// if a plugin server doesn't listen before ctx ends or 30 s have passed.
func Run(ctx context.Context, o Options) (*Gateway, error) { return run(ctx, nil, o) }

func run(ctx context.Context, tb TB, o Options) (*Gateway, error) {
	if o.Env == nil {
		o.Env = os.Environ()
	}
	o.Listen = cmp.Or(o.Listen, "127.0.0.1:0")
	o.Workers = cmp.Or(o.Workers, 2)
	o.ReloadDelay = cmp.Or(o.ReloadDelay, 2*time.Second)
	o.RealIPHeader = cmp.Or(o.RealIPHeader, "X-Real-IP")
	o.MaxHeaderBytes = cmp.Or(o.MaxHeaderBytes, 32<<10)
	g := &Gateway{tb: tb, config: []byte(o.Config), closing: make(chan struct{}), upstreams: newUpstreams()}
	if o.Prefix == "" {
		dir, err := os.MkdirTemp("", "kong")
		if err != nil {
			return nil, err
		}
		o.Prefix, g.removeDir = dir, dir
	} else if err := os.MkdirAll(o.Prefix, 0o755); err != nil {
		return nil, err
	}
	for _, path := range o.Plugins {
		abs, err := filepath.Abs(path)
		if err != nil {
			return nil, err
		}
		o.PluginServers = append(o.PluginServers, Binary(abs, o.Prefix))
	}
	g.options = o
	err := g.readConfig()
	var plugins map[string]*plugin
	if err == nil {
		plugins, err = loadPlugins(ctx, o.PluginServers, o.Env)
	}
	if err == nil {
		err = g.start(plugins)
	}
	if err == nil && !o.NoWait {
		err = g.AwaitReady(ctx)
	}
	if err != nil {
		g.Close()
		return nil, err
	}
	return g, nil
}

func (g *Gateway) start(plugins map[string]*plugin) error {
	c, err := g.load(g.config, plugins)
	if err != nil {
		return err
	}
	if g.listener, err = net.Listen("tcp", g.options.Listen); err != nil {
		return err
	}
	g.current = g.newGeneration(plugins, c)
	g.fronts.Go(g.serve)
	return nil
}

func (g *Gateway) readConfig() error {
	if g.options.ConfigFile == "" {
		return nil
	}
	text, err := os.ReadFile(g.options.ConfigFile)
	if err == nil {
		g.config = text
	}
	return err
}

func (g *Gateway) load(text []byte, plugins map[string]*plugin) (*configuration, error) {
	c, err := load(text, plugins, g.getenv, func(s string) { g.log("notice", s) })
	if err != nil {
		return nil, fmt.Errorf("error parsing declarative config%s:\n%w", g.fileName(), err)
	}
	return c, nil
}

// fileName is the configuration file's, for messages.
func (g *Gateway) fileName() string {
	if g.options.ConfigFile == "" {
		return ""
	}
	return " file " + g.options.ConfigFile
}

// URL is the gateway's address, without a final slash.
func (g *Gateway) URL() string { return "http://" + g.Addr() }

// Addr is the gateway's host and port.
func (g *Gateway) Addr() string { return g.listener.Addr().String() }

const readyTimeout = 30 * time.Second

// AwaitReady waits until every plugin server that the gateway starts listens,
// or ctx ends or 30 s have passed.
func (g *Gateway) AwaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for _, s := range g.options.PluginServers {
		if s.StartCommand == "" {
			continue // another program's
		}
		if err := kongtest.NewClient(s.Socket).AwaitReady(ctx); err != nil {
			return fmt.Errorf("%w\n%s", err, g.tail())
		}
	}
	return nil
}

// SetConfig puts another declarative configuration into effect, as a POST to
// the Admin API's /config: every plugin instance is replaced. A configuration
// with errors changes nothing.
func (g *Gateway) SetConfig(text string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	c, err := g.load([]byte(text), g.current.plugins)
	if err != nil {
		return err
	}
	g.config = []byte(text)
	g.current.snapshot.Store(&snapshot{c})
	return nil
}

// Reload is kong reload: plugins are queried and the configuration is read
// again, and new workers with new plugin servers take over. The old ones finish
// their requests and end later, see Options.ReloadDelay; AwaitReloaded waits
// for that. An error leaves everything as it was.
func (g *Gateway) Reload(ctx context.Context) error {
	plugins, err := loadPlugins(ctx, g.options.PluginServers, g.options.Env)
	if err != nil {
		return err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return net.ErrClosed
	}
	previous := g.config
	if err := g.readConfig(); err != nil {
		return err
	}
	c, err := g.load(g.config, plugins)
	if err != nil {
		g.config = previous
		return err
	}
	old := g.current
	g.current = g.newGeneration(plugins, c)
	g.ending.Go(func() { old.quit(g.options.ReloadDelay, g.closing) })
	return nil
}

// AwaitReloaded waits until no workers of earlier configurations are left, and
// the new plugin servers listen.
func (g *Gateway) AwaitReloaded(ctx context.Context) error {
	done := make(chan struct{})
	go func() {
		g.ending.Wait()
		close(done)
	}()
	select {
	case <-done:
		return g.AwaitReady(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// CrashWorker ends worker 0 as a crash would: its connections break, its
// plugin servers are orphaned, and another worker 0 starts new ones. It
// returns the orphans.
func (g *Gateway) CrashWorker() []Process {
	g.mu.Lock()
	defer g.mu.Unlock()
	orphans := g.current.crash()
	g.orphans = append(g.orphans, orphans...)
	return exported(orphans)
}

// Process is one plugin server that the gateway has started.
type Process struct {
	Name   string
	PID    int
	Exited <-chan struct{} // closed when it has ended
}

// PluginServers returns the plugin servers of the present workers that run.
func (g *Gateway) PluginServers() []Process {
	g.mu.Lock()
	defer g.mu.Unlock()
	return exported(g.supervisor().list())
}

// KillPluginServers sends a signal to the plugin servers of the present
// workers. The gateway starts them again a second after their last start at
// the earliest.
func (g *Gateway) KillPluginServers(sig os.Signal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.supervisor().signal(sig)
}

func (g *Gateway) supervisor() *supervisor {
	g.current.mu.Lock()
	defer g.current.mu.Unlock()
	return g.current.supervisor
}

func exported(processes []*process) []Process {
	var all []Process
	for _, p := range processes {
		all = append(all, Process{p.server.Name, p.cmd.Process.Pid, p.exited})
	}
	return all
}

// Close is kong stop: connections are closed, plugin servers get SIGTERM and
// are waited for. Orphans of CrashWorker, which Kong would leave behind, are
// killed. Further calls do nothing.
func (g *Gateway) Close() {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return
	}
	g.closed = true
	close(g.closing)
	current, orphans := g.current, g.orphans
	g.mu.Unlock()
	if g.listener != nil {
		g.listener.Close()
	}
	g.upstreams.close()
	if current != nil {
		current.end()
	}
	g.ending.Wait()
	for _, p := range orphans {
		p.cmd.Process.Kill()
		<-p.exited
	}
	g.fronts.Wait()
	if g.removeDir != "" {
		os.RemoveAll(g.removeDir)
	}
}

// reportKilled logs that plugin servers had to be killed, and fails the test.
func (g *Gateway) reportKilled(names []string) {
	text := fmt.Sprintf("plugin servers %s did not end within %s of SIGTERM", strings.Join(names, ", "), terminateTimeout)
	g.log("error", text)
	if g.tb != nil {
		g.tb.Errorf("%s", text)
	}
}

// giveUp reports whether an event has run so often that it isn't run again. Kong
// never gives up.
func (g *Gateway) giveUp(x *exchange, plugin string, rounds int) bool {
	limit := g.options.MaxRetries
	if limit < 0 {
		if rounds%1000 == 0 {
			g.log("warn", fmt.Sprintf("plugin %s has closed its connection in %d runs of the same event, and Kong has no limit", plugin, rounds))
		}
		select {
		case <-g.closing:
			return true
		default:
			return false
		}
	}
	if rounds <= limit {
		return false
	}
	text := fmt.Sprintf("plugin %s closed its connection during an event, %d time(s) in one request (%s): Kong would run it again and again", plugin, rounds, x.Request.Vars["kong_request_id"])
	g.log("error", text)
	if g.tb != nil {
		g.tb.Errorf("%s", text)
	}
	return true
}

func (g *Gateway) getenv(name string) (string, bool) {
	for i := len(g.options.Env) - 1; i >= 0; i-- {
		if v, ok := strings.CutPrefix(g.options.Env[i], name+"="); ok {
			return v, true
		}
	}
	return "", false
}

// serverEnv is the environment of plugin servers.
func (g *Gateway) serverEnv() []string { return mainEnv(g.options.MainEnv, g.getenv) }
