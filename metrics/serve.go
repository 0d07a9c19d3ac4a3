package metrics

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"kong-vault-auth/localhttp"
)

// Start serves h at an address until ctx ends or stop is called, which waits for
// the end; nothing is served at the zero Address. It never fails: an address that can't be
// listened on is tried again, and the log says so.
func Start(ctx context.Context, a localhttp.Address, h http.Handler, log *slog.Logger) (stop func()) {
	s := &localhttp.Server{
		Address: a, Handler: h, Timeout: scrapeTimeout, Farewell: time.Second, MaxConns: 16,
		Mode: 0o660, Group: -1, // Kong's user and its group may scrape
		Ready: func(net.Addr) { log.Info("metrics are served", "reason", "metrics", "address", a.String()) },
		Failed: func(err error) {
			log.Warn("metrics can't be served, it is tried again every second (check VAULT_AUTH_METRICS_LISTEN, and who else listens there)",
				"reason", "metrics", "address", a.String(), "err", err)
		},
	}
	return s.Start(ctx)
}
