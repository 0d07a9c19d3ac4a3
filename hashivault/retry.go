package hashivault

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"kong-vault-auth/clock"
	"kong-vault-auth/secretstore"
	"kong-vault-auth/securefile"
)

// retryPauses are the pauses between attempts at one read, before jitter.
var retryPauses = []time.Duration{30 * time.Millisecond, 120 * time.Millisecond}

// fetch gets a secret, with retries.
func (s *store) fetch(ctx context.Context, token string, name secretName) (*answer, error) {
	r := request{path: name.path, token: token}
	if name.version != "" {
		r.query = url.Values{"version": {name.version}}
	}
	return withRetries(ctx, func() (*answer, error) { return s.conn.send(ctx, r) })
}

// withRetries repeats a request after a transient failure, if there is time.
func withRetries(ctx context.Context, ask func() (*answer, error)) (*answer, error) {
	for attempt := 0; ; attempt++ {
		a, err := ask()
		if attempt == len(retryPauses) || !isTransient(a, err) || !sleep(ctx, retryPauses[attempt]) {
			return a, err
		}
	}
}

// isTransient reports whether an immediate retry is likely to succeed: after a lost
// connection, with a server that restarts behind a load balancer, with a standby
// that lags behind. It would not help with a sealed Vault, a rate limit, a
// certificate or a name that can't be resolved.
func isTransient(a *answer, err error) bool {
	if err != nil {
		var (
			timeout     interface{ Timeout() bool }
			dns         *net.DNSError
			certificate *tls.CertificateVerificationError
			record      tls.RecordHeaderError
			file        *securefile.Error
			network     *net.OpError
			reach       *secretstore.ReachError
		)
		switch {
		case errors.Is(err, errRedirect), errors.Is(err, errForeignRedirect), errors.Is(err, context.Canceled), errors.Is(err, http.ErrSchemeMismatch),
			errors.As(err, &timeout) && timeout.Timeout(), errors.As(err, &dns), errors.As(err, &file), errors.As(err, &reach),
			errors.As(err, &certificate), errors.As(err, &record),
			errors.As(err, &network) && network.Op == "remote error":
			return false
		}
		return true
	}
	switch a.status {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusGatewayTimeout, http.StatusPreconditionFailed, 472, 473:
		return true
	case http.StatusServiceUnavailable:
		return a.retryAfter() == 0 && !strings.Contains(string(a.body), "sealed")
	}
	return false
}

// sleep waits for about d. It returns false if ctx leaves no time for that and
// another attempt.
func sleep(ctx context.Context, d time.Duration) bool {
	d = d/2 + rand.N(d)
	if end, ok := ctx.Deadline(); ok && time.Until(end) < 2*d {
		return false
	}
	return clock.Sleep(ctx, d)
}
