package control

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	stdlog "log"
	"log/slog"
	"net/http"
	"os"
	"time"

	"golang.org/x/net/netutil"

	"kong-vault-auth/pluginserver"
)

// lookEvery is how often it is looked whether the socket's file is still there.
var lookEvery = 5 * time.Second

const socketMode fs.FileMode = 0o600

const (
	maxConns = 16
	// retryEvery is how soon a path that can't be had is tried again.
	retryEvery = time.Second
	// farewell is for an operation that is under way when the server stops.
	farewell = 2 * time.Second
	// answerTimeout bounds an operation, with the snapshots that it writes.
	answerTimeout = time.Minute
)

// Start serves h on a socket at path until ctx ends or stop is called, which waits for
// the end; an empty path is nowhere. It never fails, since requests must be answered
// whether or not an operator can be: a path that can't be had is tried again every
// second, and the log says so. Another plugin server may take the path over.
func Start(ctx context.Context, path string, h http.Handler, log *slog.Logger) (stop func()) {
	if path == "" {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := serve(ctx, path, h, log); err != nil {
				log.Error("the control socket can't be served, it is tried again every second (set "+Variable+" to a path in a folder of this user's, or to "+Off+")",
					"reason", "control", "socket", path, "err", err)
			}
			pause(ctx, retryEvery)
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// serve serves until ctx ends, or the socket's file is gone.
func serve(ctx context.Context, path string, h http.Handler, log *slog.Logger) error {
	info, err := os.Lstat(path)
	switch {
	case err == nil && info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("%s is there already, and is not a socket: choose another path", path)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	l, err := pluginserver.ListenSocket(path, socketMode, -1)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go watchFile(ctx, path, cancel)
	s := &http.Server{
		Handler:           http.TimeoutHandler(h, answerTimeout, `{"message":"it took too long"}`),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       5 * time.Second,
		WriteTimeout:      answerTimeout + 5*time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    8 << 10,
		ErrorLog:          stdlog.New(io.Discard, "", 0),
	}
	stopped := make(chan struct{})
	defer context.AfterFunc(ctx, func() {
		defer close(stopped)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer cancel()
		if s.Shutdown(ctx) != nil {
			s.Close()
		}
	})()
	err = s.Serve(netutil.LimitListener(&pluginserver.OwnersListener{Listener: l, Refused: func(err error) {
		log.Error("connection to the control socket refused", "reason", "peer", "err", err)
	}}, maxConns))
	if ctx.Err() != nil {
		<-stopped
		return nil
	}
	return err
}

// watchFile calls gone when nothing is at path any more: whoever cleans up in /run or
// /tmp must not take the way in for good. Another server's socket is left alone.
func watchFile(ctx context.Context, path string, gone func()) {
	for ctx.Err() == nil {
		pause(ctx, lookEvery)
		if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
			gone()
			return
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
