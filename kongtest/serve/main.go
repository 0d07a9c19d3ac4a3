// Command serve serves a kong.yml without Kong: it runs external plugins'
// binaries as Kong would, on the small stand-in for Kong that is package
// gateway.
//
//	go run ./kongtest/serve -config kong.yml -listen 127.0.0.1:8000 -plugin bin/vault-auth
//
// Instead of -plugin, plugin servers can be named as for Kong, with
// KONG_PLUGINSERVER_NAMES and KONG_PLUGINSERVER_<NAME>_QUERY_CMD, _START_CMD
// and _SOCKET. KONG_PREFIX, KONG_NGINX_MAIN_ENV, KONG_LOG_LEVEL,
// KONG_PROXY_LISTEN and KONG_DECLARATIVE_CONFIG mean what they mean to Kong.
//
// It prints one line on standard output when it serves. SIGHUP reloads, as
// kong reload does, SIGTERM and SIGINT stop it and its plugin servers. It
// exits with 1 if it can't start, and says why.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"syscall"

	"kong-vault-auth/kongtest"
	"kong-vault-auth/kongtest/gateway"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("serve: ")
	if err := run(os.Args[1:]); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			os.Exit(2)
		}
		log.Print(err)
		os.Exit(1)
	}
}

func run(args []string) error {
	stop, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)

	o, errorLog, err := options(args, os.Getenv)
	if err != nil {
		return err
	}
	if errorLog != nil {
		defer errorLog.Close()
	}
	g, err := gateway.Run(stop, o)
	if err != nil {
		return err
	}
	defer g.Close()
	fmt.Printf("ready on %s\n", g.URL())
	for {
		select {
		case <-hup:
			if err := g.Reload(stop); err != nil {
				log.Printf("reload: %v; everything stays as it was", err)
			}
		case <-stop.Done():
			return nil
		}
	}
}

// options reads the command line and Kong's variables.
func options(args []string, getenv func(string) string) (o gateway.Options, errorLog io.Closer, err error) {
	flags := flag.NewFlagSet("serve", flag.ContinueOnError)
	flags.StringVar(&o.ConfigFile, "config", or(getenv("KONG_DECLARATIVE_CONFIG"), "kong.yml"), "declarative configuration `file`")
	flags.StringVar(&o.Listen, "listen", or(listenAddress(getenv("KONG_PROXY_LISTEN")), "127.0.0.1:8000"), "`address` to serve on")
	flags.StringVar(&o.Prefix, "prefix", getenv("KONG_PREFIX"), "`folder` of the plugin servers' sockets (default a temporary one)")
	file := flags.String("error-log", "", "`file` for the error log (default standard error)")
	level := flags.String("log-level", or(getenv("KONG_LOG_LEVEL"), "notice"), "lowest `level` of the error log: debug, info, notice, warn, error, crit, alert")
	flags.Func("plugin", "`executable` of a plugin; may be repeated", func(path string) error {
		o.Plugins = append(o.Plugins, path)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return o, nil, err
	}
	if flags.NArg() > 0 {
		return o, nil, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	lowest := slices.Index(levels, *level)
	if lowest < 0 {
		return o, nil, fmt.Errorf("log level %q is not one of %s", *level, strings.Join(levels, ", "))
	}
	w := os.Stderr
	if *file != "" {
		if w, err = os.OpenFile(*file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600); err != nil {
			return o, nil, err
		}
		errorLog = w
	}
	o.ErrorLog = writeLines(w, lowest)
	o.PluginServers = pluginServers(getenv)
	o.MainEnv = getenv("KONG_NGINX_MAIN_ENV")
	o.MaxRetries = -1
	return o, errorLog, nil
}

var levels = []string{"debug", "info", "notice", "warn", "error", "crit", "alert"}

func writeLines(w io.Writer, lowest int) func(kongtest.LogLine) {
	var mu sync.Mutex
	l := log.New(w, "", log.LstdFlags)
	return func(line kongtest.LogLine) {
		if slices.Index(levels, line.Level) < lowest {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		l.Printf("[%s] %s", line.Level, line.Text)
	}
}

// pluginServers are those that Kong's own variables name.
func pluginServers(getenv func(string) string) []gateway.PluginServer {
	var all []gateway.PluginServer
	for name := range strings.FieldsFuncSeq(getenv("KONG_PLUGINSERVER_NAMES"), func(r rune) bool { return r == ',' || r == ' ' }) {
		name = strings.ToLower(name)
		key := "KONG_PLUGINSERVER_" + strings.ToUpper(strings.ReplaceAll(name, "-", "_"))
		all = append(all, gateway.PluginServer{
			Name:         name,
			Socket:       or(getenv(key+"_SOCKET"), "/usr/local/kong/"+name+".socket"),
			StartCommand: or(getenv(key+"_START_CMD"), ifExists("/usr/local/bin/"+name)),
			QueryCommand: or(getenv(key+"_QUERY_CMD"), ifExists("/usr/local/bin/query_"+name)),
		})
	}
	return all
}

func ifExists(path string) string {
	if _, err := os.Stat(path); err != nil {
		return ""
	}
	return path
}

// listenAddress is the first plain address of Kong's proxy_listen.
func listenAddress(list string) string {
	for entry := range strings.SplitSeq(list, ",") {
		words := strings.Fields(entry)
		if len(words) > 0 && words[0] != "off" && !slices.Contains(words, "ssl") {
			return words[0]
		}
	}
	return ""
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
