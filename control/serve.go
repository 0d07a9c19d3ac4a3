package control

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"kong-vault-auth/localhttp"
)

const (
	// farewell is for an operation that is under way when the server stops.
	farewell = 2 * time.Second
	// answerTimeout bounds an operation, with the snapshots that it writes.
	answerTimeout = time.Minute
)

// Start serves h on a socket at path until ctx ends or stop is called, which waits for
// the end; an empty path is nowhere. It never fails, since requests must be answered
// whether or not an operator can be: a path that can't be listened on is tried again, and the
// log says so. Another plugin server may take the path over.
func Start(ctx context.Context, path string, h http.Handler, log *slog.Logger) (stop func()) {
	s := &localhttp.Server{
		Address: localhttp.Unix(path),
		Handler: http.TimeoutHandler(h, answerTimeout, `{"message":"it took too long"}`),
		Timeout: answerTimeout + 5*time.Second, Farewell: farewell, MaxConns: 16,
		Mode: 0o600, Group: -1, Guarded: true,
		Failed: func(err error) {
			log.Error("the control socket can't be served, it is tried again every second (set "+Variable+" to a path in a folder of this user's, or to "+Off+")",
				"reason", "control", "socket", path, "err", err)
		},
		Refused: func(err error) {
			log.Error("connection to the control socket refused", "reason", "peer", "err", err)
		},
	}
	return s.Start(ctx)
}
