// Command nothing is an external plugin that lets every request pass: what any
// external plugin costs at least, on this project's own plugin server.
package main

import (
	"context"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"kong-vault-auth/pluginserver"
)

type config struct {
	Unused string `json:"unused" doc:"Not used by anything."`
}

type handler struct{}

func (handler) Access(*pluginserver.Event) pluginserver.Verdict { return pluginserver.Pass() }
func (handler) Close()                                          {}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	plugin := pluginserver.Plugin{
		Version: "0.0.0", Priority: 1350, Config: (*config)(nil),
		Start: func([]byte) (pluginserver.Handler, error) { return handler{}, nil },
	}
	c, err := pluginserver.ParseCommand(os.Args[0], os.Args[1:], os.Stderr)
	if err != nil {
		os.Exit(2)
	}
	if c.Dump {
		err = pluginserver.Dump(os.Stdout, plugin, c.Name, c.SocketPath)
	} else {
		err = c.ListenAndServe(ctx, plugin, nil, pluginserver.NewLog(os.Stderr, slog.LevelWarn))
	}
	if err != nil {
		log.Fatal(err)
	}
}
