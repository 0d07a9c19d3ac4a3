package metrics

import (
	"context"
	"errors"
	"io"
	stdlog "log"
	"log/slog"
	"net"
	"net/http"
	"syscall"
	"time"

	"golang.org/x/net/netutil"
)

const (
	// retryEvery is how soon an address that can't be had is tried again.
	retryEvery = time.Second
	// handover is for how long a taken port is nothing to speak of: during a
	// kong reload the plugin server from before still has it.
	handover = 30 * time.Second
	// farewell is for a scrape that is under way when the server stops.
	farewell = time.Second
	// maxConns bounds the file descriptors that strangers can take from the
	// connections that Kong needs.
	maxConns = 16
)

// Start serves h at an address until ctx ends or stop is called, which waits for
// the end; nothing is served at the zero Address.
//
// It never fails. An address that can't be had is tried again every second, and
// the log says so, unless somebody else has had it for less than half a minute.
func Start(ctx context.Context, a Address, h http.Handler, log *slog.Logger) (stop func()) {
	if a == (Address{}) {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		serve(ctx, a.String(), func() (net.Listener, error) { return a.listen(ctx) }, h, log)
	}()
	return func() {
		cancel()
		<-done
	}
}

func serve(ctx context.Context, address string, listen func() (net.Listener, error), h http.Handler, log *slog.Logger) {
	for {
		l := await(ctx, address, listen, log)
		if l == nil {
			return
		}
		log.Info("metrics are served", "reason", "metrics", "address", address)
		err := serveOn(ctx, netutil.LimitListener(l, maxConns), h)
		if ctx.Err() != nil {
			return
		}
		log.Warn("metrics are no longer served; the listener will be opened again", "reason", "metrics", "address", address, "err", err)
		pause(ctx)
	}
}

// await returns a listener once there is one, and nil when ctx has ended.
func await(ctx context.Context, address string, listen func() (net.Listener, error), log *slog.Logger) net.Listener {
	began := time.Now()
	for ctx.Err() == nil {
		l, err := listen()
		if err == nil {
			return l
		}
		if !errors.Is(err, syscall.EADDRINUSE) || time.Since(began) >= handover {
			log.Warn("metrics can't be served, it is tried again every second (check VAULT_AUTH_METRICS_LISTEN, and who else listens there)",
				"reason", "metrics", "address", address, "err", err)
		}
		pause(ctx)
	}
	return nil
}

func pause(ctx context.Context) {
	t := time.NewTimer(retryEvery)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// serveOn serves on l until ctx ends, and closes it.
func serveOn(ctx context.Context, l net.Listener, h http.Handler) error {
	s := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      scrapeTimeout + 5*time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          stdlog.New(io.Discard, "", 0), // its lines hold addresses of clients
	}
	stopped := make(chan struct{})
	unwatch := context.AfterFunc(ctx, func() {
		defer close(stopped)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer cancel()
		if s.Shutdown(ctx) != nil {
			s.Close()
		}
	})
	err := s.Serve(l)
	if !unwatch() {
		<-stopped
	}
	return err
}
