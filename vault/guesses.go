package vault

import (
	"strings"
	"sync"
	"time"

	"kong-vault-auth/credential"
)

const (
	// maxGuesses is how many wrong secret tokens for one credential are tolerated
	// within guessWindow: a client with a wrong configuration sends some, too.
	maxGuesses  = 20
	guessWindow = time.Minute
	// maxGuessed limits for how many credentials wrong secret tokens are counted at a
	// time. Only existing credentials count, so strangers can't reach the limit.
	maxGuessed = 10_000
)

// guesses counts wrong secret tokens by credential. The zero value is ready to use,
// and safe for concurrent use.
type guesses struct {
	mu    sync.Mutex
	byKey map[string]guessed
}

type guessed struct {
	since time.Time // when the window began, with the first wrong token
	count int
}

// add counts a wrong secret token. It returns the count of this window, and how much of
// the window is left.
func (g *guesses) add(key string, now time.Time) (count int, left time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	seen, known := g.byKey[key]
	if !known || now.Sub(seen.since) >= guessWindow {
		g.makeRoom(now)
		seen = guessed{since: now}
		key = strings.Clone(key) // it may be a substring of a whole request
	}
	seen.count++
	g.byKey[key] = seen
	return seen.count, guessWindow - now.Sub(seen.since)
}

// makeRoom deletes windows that are over if there are too many or, if none is, all of
// them. mu is held.
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

// guessed counts a wrong secret token and returns its error: err, or a *GuessingError if
// there were too many.
func (cs *credentialStore) guessed(key, accessToken string, client Client, err error) error {
	n, left := cs.guesses.add(key, time.Now())
	if n <= maxGuesses {
		return err
	}
	if n == maxGuesses+1 {
		cs.log.Warn("more than 20 wrong secret tokens for one credential within a minute; wrong ones are answered 429, the right one still works",
			"reason", "guessing", "credential", cs.fingerprint(accessToken), "client", addressText(client))
	}
	return &GuessingError{RetryAfter: max(left, time.Second)}
}

// plusLost reports whether a secret token differs from the right one only in having a
// space for each +, since query strings and forms decode an unescaped + as a space. Such
// a client isn't guessing, and the log line helps its owner.
func (cs *credentialStore) plusLost(c *credential.Credential, accessToken, secretToken string, client Client) bool {
	meant := strings.ReplaceAll(secretToken, " ", "+")
	if meant == secretToken || c == nil || !cs.sealer.Verify(c, accessToken, meant, time.Now()) {
		return false
	}
	cs.log.Warn("a secret token was refused that has a space where the right one has +; "+
		"in a query string or form the client must write + as %2B",
		"reason", "plus", "credential", c.Fingerprint(), "client", addressText(client))
	return true
}
