package vault

import (
	"strings"
	"sync"
	"time"

	"kong-vault-auth/credential"
)

const (
	// maxGuesses is how many wrong secret tokens for one credential within
	// guessWindow are nobody's business: a client that was configured wrongly
	// makes some, too.
	maxGuesses  = 20
	guessWindow = time.Minute
	// maxGuessed bounds how many credentials are watched at a time. Only ones
	// that exist are, so a stranger can't fill this up.
	maxGuessed = 10_000
)

// guesses counts wrong secret tokens by credential. The zero value is ready, and
// safe for concurrent use.
type guesses struct {
	mu    sync.Mutex
	byKey map[string]guessed
}

type guessed struct {
	since time.Time // the first of count
	count int
}

// add counts a wrong secret token. It returns how many there were in this
// window, and for how long it goes on.
func (g *guesses) add(key string, now time.Time) (count int, left time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	seen, known := g.byKey[key]
	if !known || now.Sub(seen.since) >= guessWindow {
		g.makeRoom(now)
		seen = guessed{since: now}
		key = strings.Clone(key) // it may be cut from a whole request
	}
	seen.count++
	g.byKey[key] = seen
	return seen.count, guessWindow - now.Sub(seen.since)
}

// makeRoom forgets windows that are over, or if there are none, all. mu is held.
func (g *guesses) makeRoom(now time.Time) {
	if len(g.byKey) >= maxGuessed {
		for key, seen := range g.byKey {
			if now.Sub(seen.since) >= guessWindow {
				delete(g.byKey, key)
			}
		}
	}
	if g.byKey == nil || len(g.byKey) >= maxGuessed {
		g.byKey = map[string]guessed{}
	}
}

// guessed counts a wrong secret token, and returns err, or a *GuessingError if
// there were too many. Right ones never come here.
func (l *live) guessed(key, accessToken string, client Client, err error) error {
	n, left := l.guesses.add(key, time.Now())
	if n <= maxGuesses {
		return err
	}
	if n == maxGuesses+1 {
		l.log.Warn("more than 20 wrong secret tokens for one credential within a minute; wrong ones are answered 429, the right one works on",
			"reason", "guessing", "credential", l.fingerprint(accessToken), "client", shown(client))
	}
	return &GuessingError{RetryAfter: max(left, time.Second)}
}

// plusLost reports whether a secret token is wrong only in that it has a space for
// each + of the right one: what a query string or a form makes of a + that the
// client hasn't escaped. Such a client doesn't guess, and somebody should tell it.
func (l *live) plusLost(c *credential.Credential, accessToken, secretToken string, client Client) bool {
	meant := strings.ReplaceAll(secretToken, " ", "+")
	if meant == secretToken || c == nil || !l.sealer.Verify(c, accessToken, meant, time.Now()) {
		return false
	}
	l.log.Warn("a secret token is right but for a space in the place of +, and refused; "+
		"in a query string or form the client has to write + as %2B",
		"reason", "plus", "credential", c.Fingerprint(), "client", shown(client))
	return true
}
