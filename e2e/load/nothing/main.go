// Command nothing is an external plugin that lets every request pass, on this project's own
// plugin server. It shows what any external plugin costs at least. Its configuration can make
// it do the PDK calls that vault-auth makes for a request with a cached credential, and nothing
// else, which shows what those cost at least.
package main

import (
	"context"
	"encoding/json"
	"log"
	"log/slog"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"

	"kong-vault-auth/pluginserver"
)

type config struct {
	Calls    int    `json:"calls" kong:"between=0,3" doc:"How many calls it makes: get_headers, authenticate, set_headers."`
	Consumer string `json:"consumer" doc:"The consumer that the calls name, by id."`
}

type handler struct {
	config   config
	consumer atomic.Pointer[pluginserver.Consumer] // nil until the first request
}

// Access makes the calls as vault-auth does: waiting for the headers, and nothing else.
func (h *handler) Access(e *pluginserver.Event) pluginserver.Verdict {
	if h.config.Calls == 0 {
		return pluginserver.Pass()
	}
	if _, err := e.GetHeaders(1000).Wait(); err != nil {
		return pluginserver.Fault()
	}
	consumer := h.consumer.Load()
	if consumer == nil {
		var err error
		if consumer, err = e.LoadConsumer(h.config.Consumer, false); err != nil || consumer == nil {
			return pluginserver.Fault()
		}
		h.consumer.Store(consumer)
	}
	const credential = "d3b07384-d9a0-5f6a-8e3b-4f0c8a1b2c3d"
	if h.config.Calls > 1 {
		e.Authenticate(consumer, &pluginserver.Credential{ID: credential, ConsumerID: consumer.ID})
	}
	if h.config.Calls > 2 {
		e.SetHeaders([]pluginserver.HeaderChange{
			{Name: "X-Consumer-ID", Value: consumer.ID},
			{Name: "X-Consumer-Username", Value: consumer.Username},
			{Name: "X-Consumer-Custom-ID", Value: consumer.CustomID},
			{Name: "X-Credential-Identifier", Value: credential},
			{Name: "access_token"},
			{Name: "secret_token"},
		})
	}
	return pluginserver.Pass()
}

func (*handler) Close() {}

func start(b []byte) (pluginserver.Handler, error) {
	h := &handler{}
	return h, json.Unmarshal(b, &h.config)
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	plugin := pluginserver.Plugin{Version: "0.0.0", Priority: 1350, Config: (*config)(nil), Start: start}
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
