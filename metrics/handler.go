package metrics

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"kong-vault-auth/localhttp"
)

// Bounds of what scrapes may take.
const (
	maxScrapes    = 4 // at a time
	scrapeTimeout = 10 * time.Second
)

// Handler answers GET /metrics with all metrics, those of the Go runtime and of
// the process too, in the text format unless another one is asked for. It
// answers 404 to other paths, and 405 to other methods.
func Handler(s Source) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(
		NewCollector(s),
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	scrape := promhttp.HandlerFor(registry, promhttp.HandlerOpts{
		ErrorHandling:       promhttp.ContinueOnError, // some metrics are better than none
		MaxRequestsInFlight: maxScrapes,
		Timeout:             scrapeTimeout,
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path != "/metrics":
			http.NotFound(w, r)
		case r.Method != http.MethodGet:
			w.Header().Set("Allow", http.MethodGet)
			http.Error(w, "405 method not allowed", http.StatusMethodNotAllowed)
		default:
			scrape.ServeHTTP(w, r)
		}
	})
}

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
