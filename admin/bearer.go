package admin

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"kong-vault-auth/securefile"
)

const (
	// minBearer is the shortest bearer token, in bytes: one that can't be guessed.
	minBearer = 32
	// A source may send failuresAtOnce wrong tokens at once, and then one in each
	// failureEvery. When it has used them up, none of its tokens is accepted.
	failuresAtOnce = 5
	failureEvery   = 10 * time.Second
	maxSources     = 1024
	maxBearerFile  = 64 << 10
)

// bearers are the bearer tokens in a file.
type bearers struct {
	path string

	mu       sync.Mutex
	failures map[netip.Prefix]*rate.Limiter // by source; guarded by mu
}

type bearer struct {
	name   string
	digest [sha256.Size]byte
}

// read reads the file: a line for each token, NAME:TOKEN, or the token alone. That is done
// for each request, so that a token which is removed is refused at once.
func (b *bearers) read() ([]bearer, error) {
	contents, err := securefile.Read(b.path, securefile.Group, maxBearerFile)
	if err != nil {
		return nil, err
	}
	var all []bearer
	number := 0
	for line := range strings.Lines(string(contents)) {
		number++
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, token, named := strings.Cut(line, ":")
		if !named {
			name, token = "admin", line
		}
		if len(token) < minBearer {
			// Not by its name: what precedes a colon may be part of a token.
			return nil, fmt.Errorf("%s: the token in line %d has less than %d characters: make one with openssl rand -hex 32", b.path, number, minBearer)
		}
		all = append(all, bearer{name, sha256.Sum256([]byte(token))})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s holds no token: write lines of NAME:TOKEN, a token is made with openssl rand -hex 32", b.path)
	}
	return all, nil
}

var errNoBearer = errors.New("no valid bearer token was sent: send the header Authorization: Bearer TOKEN")

// admit returns the name of the token that a request carries.
func (b *bearers) admit(r *http.Request, now time.Time) (name string, err error) {
	failures := b.failuresOf(r.RemoteAddr)
	if failures.TokensAt(now) < 1 {
		return "", &statusError{http.StatusTooManyRequests, errors.New("too many wrong tokens have come from there: wait 10 seconds")}
	}
	all, err := b.read()
	if err != nil {
		return "", unavailable(err)
	}
	scheme, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	digest := sha256.Sum256([]byte(strings.TrimSpace(token)))
	for _, known := range all { // all of them, so that the time reveals nothing
		if subtle.ConstantTimeCompare(known.digest[:], digest[:]) == 1 {
			name = known.name
		}
	}
	if name == "" || !strings.EqualFold(scheme, "Bearer") {
		failures.AllowN(now, 1)
		return "", &statusError{http.StatusUnauthorized, errNoBearer}
	}
	return name, nil
}

// failuresOf limits the wrong tokens of a source.
func (b *bearers) failuresOf(address string) *rate.Limiter {
	var source netip.Prefix
	if a, err := netip.ParseAddrPort(address); err == nil {
		bits := 32
		if ip := a.Addr().Unmap(); ip.Is6() {
			bits = 64
		}
		source, _ = a.Addr().Unmap().WithZone("").Prefix(bits)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	l := b.failures[source]
	if l == nil {
		if b.failures == nil || len(b.failures) >= maxSources {
			b.failures = map[netip.Prefix]*rate.Limiter{}
		}
		l = rate.NewLimiter(rate.Every(failureEvery), failuresAtOnce)
		b.failures[source] = l
	}
	return l
}
