// Command vault-auth is an auth plugin for Kong Gateway whose credentials live
// in HashiCorp Vault or Azure Key Vault, and the plugin vault-secrets, which puts secrets
// from there into requests. It runs beside Kong as a plugin server, on
// the socket that -socket names or systemd passes on, and Kong runs it with -dump to
// learn about the plugin. With a subcommand as its first argument it is the operator's
// command instead, see package command. See the README.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/term"

	"kong-vault-auth/azurevault"
	"kong-vault-auth/blocklist"
	"kong-vault-auth/command"
	"kong-vault-auth/control"
	"kong-vault-auth/fleet"
	"kong-vault-auth/hashivault"
	"kong-vault-auth/metrics"
	"kong-vault-auth/pluginserver"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/vault"
	"kong-vault-auth/vaultauth"
	"kong-vault-auth/vaultsecrets"
)

// version is set by the build (-ldflags -X main.version).
var version = "0.1.0"

func main() {
	// Images of Kong's name SIGQUIT as their stop signal.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGQUIT)
	defer stop()
	os.Exit(run(ctx, os.Args[1:]))
}

// run returns the exit status: 0 after a requested stop, 1 after a failure, 2 for an invalid
// command line.
func run(ctx context.Context, args []string) int {
	if operator := operator(); operator.Names(args) {
		_ = keepSecret() // commands handle secrets too
		return operator.Run(ctx, args)
	}
	c, err := pluginserver.ParseCommand(os.Args[0], args, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case c.Version:
		fmt.Println(version)
		return 0
	case c.Dump:
		err = pluginserver.Dump(os.Stdout, described(c.Name), c.Name, c.SocketPath)
	case c.CheckHealth:
		err = c.Check(ctx)
	default:
		err = serve(ctx, c)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", c.Name, err)
		return 1
	}
	return 0
}

// described returns the plugin of that name, for Kong's query command. Any other name is a
// renamed vault-auth.
func described(name string) pluginserver.Plugin {
	log := slog.New(slog.DiscardHandler)
	if name == vaultsecrets.Name {
		return vaultsecrets.New(version, nil, log).Plugin
	}
	return vaultauth.New(version, nil, log).Plugin
}

// stores are the supported kinds of secret store.
var stores = []secretstore.Kind{hashivault.Kind, azurevault.Kind}

// operator is the operator's command, in a process of its own.
func operator() *command.Program {
	return &command.Program{
		Name:     filepath.Base(os.Args[0]),
		Version:  version,
		Kinds:    stores,
		Stdin:    os.Stdin,
		Stdout:   os.Stdout,
		Stderr:   os.Stderr,
		Terminal: term.IsTerminal(int(os.Stdout.Fd())),
		Getenv:   os.Getenv,
		Environ:  os.Environ,
		Now:      time.Now,
	}
}

func serve(ctx context.Context, c *pluginserver.Command) error {
	errSecret := keepSecret() // before there is a secret to keep
	if c.EnvFile != "" {
		if err := addEnv(c.EnvFile); err != nil {
			return fmt.Errorf("-env-file: %w", err)
		}
	}
	if err := c.Inherit(); err != nil {
		return err
	}
	set, err := readSettings(c.SocketPath)
	if err != nil {
		return err
	}
	// SIGPIPE: after a crash of the worker that started this process, nobody reads its
	// output, and writing another line would end it. SIGHUP: a closed terminal is no
	// reason to stop, and files that could be reloaded are watched anyway.
	signal.Ignore(syscall.SIGPIPE, syscall.SIGHUP)
	log := pluginserver.NewLog(os.Stderr, set.level)
	if errSecret != nil {
		slog.New(log).Warn("other processes of this user can read this one's secrets, and core dumps contain them", "reason", "dumpable", "err", errSecret)
	}
	if err := set.schedule(); err != nil {
		slog.New(log).Info("scheduled like any other process, not as a batch task, which costs Kong some processor time", "reason", "scheduling", "err", err)
	}
	blocked := openBlocks(ctx, set.events != nil, slog.New(log))
	getenv := takeEnv()
	options := vault.Options{Logger: slog.New(log), UserAgent: "kong-vault-auth/" + version, MaxCredentials: set.credentials, Blocked: blocked, Getenv: getenv}
	if err := secretOptions(&options, getenv); err != nil {
		return err
	}
	go options.SecretPolicy.Watch(ctx, options.Logger)
	objects := vault.NewRegistry(stores, options)
	defer objects.Close()
	stopSecrets, err := serveSecrets(ctx, c, objects.Secrets(), getenv, slog.New(log))
	if err != nil {
		return err
	}
	defer stopSecrets()
	plugin := vaultauth.New(version, objects, slog.New(log))
	plugin.UseStatus(ctx, set.kong)
	plugin.UseBlocks(blocked)
	upstream := vaultsecrets.New(version, objects.Secrets(), slog.New(log))
	others, leave := fleet.Start(ctx, fleet.Options{
		Settings: set.events, KeyFile: set.eventsKey, Target: objects, Blocks: blocked, Logger: slog.New(log),
	})
	defer leave()
	defer metrics.Start(ctx, set.metrics, metrics.Handler(metrics.Source{
		Version: version,
		Plugin:  plugin.Stats,
		Secrets: upstream.Stats,
		Objects: objects.Stats,
		LeftOut: log.LeftOut,
		Events:  others.StatsFunc(),
	}), slog.New(log))()
	operations := &control.Server{Objects: objects, Blocks: blocked, Fleet: others}
	defer control.Start(ctx, set.control, operations.Handler(), slog.New(log))()
	return c.ListenAndServe(ctx, plugin.Plugin, map[string]pluginserver.Plugin{
		vaultsecrets.Name: upstream.Plugin,
	}, log)
}

// openBlocks returns the list of blocked credentials, whose file is watched until ctx ends. It
// is nil if the environment names no file, except on a node of a fleet, which keeps the list
// in memory: it confirms blocks to the other nodes, so it must apply them.
func openBlocks(ctx context.Context, inFleet bool, log *slog.Logger) *blocklist.List {
	path := os.Getenv(blocklist.FileVariable)
	if path == "" && !inFleet {
		return nil
	}
	l := blocklist.Open(path, os.Getenv(blocklist.KeyVariable), log)
	go l.Watch(ctx)
	return l
}
