package hashivault

import (
	"context"
	"crypto/tls"
	"errors"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"kong-vault-auth/secretstore"
	"kong-vault-auth/securefile"
)

// pauses are those between attempts at one read, before jitter.
var pauses = []time.Duration{30 * time.Millisecond, 120 * time.Millisecond}

// fetch gets a secret, in several attempts where that helps.
func (s *store) fetch(ctx context.Context, token string, name secretName) (*answer, error) {
	return persistently(ctx, func() (*answer, error) { return s.conn.getVersion(ctx, token, name.path, name.version) })
}

// persistently asks in several attempts where the next one is likely to do
// better soon, and there is time.
func persistently(ctx context.Context, ask func() (*answer, error)) (*answer, error) {
	for attempt := 0; ; attempt++ {
		a, err := ask()
		if attempt == len(pauses) || !passing(a, err) || !sleep(ctx, pauses[attempt]) {
			return a, err
		}
	}
}

// passing reports a trouble that tends to pass at once: a lost connection, a
// server restarting behind a load balancer, a standby that lags behind. A sealed
// Vault, a rate limit, a certificate or a name will be the same next time.
func passing(a *answer, err error) bool {
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

// sleep waits for about d, or reports that ctx leaves no time for it and another
// attempt.
func sleep(ctx context.Context, d time.Duration) bool {
	d = d/2 + rand.N(d)
	if end, ok := ctx.Deadline(); ok && time.Until(end) < 2*d {
		return false
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
