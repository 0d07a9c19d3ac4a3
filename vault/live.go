package vault

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"kong-vault-auth/blocklist"
	"kong-vault-auth/cache"
	"kong-vault-auth/credential"
	"kong-vault-auth/secretstore"
)

// live is an open store and the cache in front of it. Objects with the same store share
// one.
type live struct {
	identity string
	naming   credential.Naming
	place    credential.Naming // see placeOf
	blocked  *blocklist.List
	sealer   *credential.Sealer
	log      *slog.Logger // with the name of the object it was opened for
	store    atomic.Pointer[openStore]
	cache    *cache.Cache[*credential.Credential]
	reported reported
	guesses  guesses
	failed   func(identity string, err error) // is told of the store's failures; may be nil
	reads    readTimes

	revocation *revocation
	snapshots  *snapshots

	// Guarded by Registry.mu.
	key    liveKey
	name   string // of the object it was opened for
	number int    // see Stats.Store
	config secretstore.Config
	uses   []*use        // the newest last
	last   string        // the owner of the last use, if there is none now
	idle   time.Time     // since when there is none
	linger time.Duration // how long the store stays open without one
	bound  time.Duration // the longest of bound for all uses so far
}

// openStore is a store, and counts the reads that use it.
type openStore struct {
	secretstore.Store
	reads sync.WaitGroup

	mu      sync.Mutex
	retired bool // it accepts no new reads
}

// begin starts a read, unless the store is retired. reads.Done ends it.
func (s *openStore) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.retired {
		s.reads.Add(1)
	}
	return !s.retired
}

// retire closes the store after its last read.
func (s *openStore) retire() error {
	s.mu.Lock()
	s.retired = true
	s.mu.Unlock()
	s.reads.Wait()
	return s.Close()
}

func newLive(identity string, s secretstore.Store, log *slog.Logger, maxEntries int) *live {
	l := &live{identity: identity, naming: credential.NewNaming(identity), sealer: credential.NewSealer(), log: log}
	l.store.Store(&openStore{Store: s})
	l.cache = cache.New(l.read, cache.Options[*credential.Credential]{MaxEntries: maxEntries, Observer: l.observer(), Same: (*credential.Credential).Same})
	l.revocation = newRevocation(l)
	return l
}

// get looks a pair up through the cache. Its form has been checked.
func (l *live) get(ctx context.Context, accessToken, secretToken string, client Client, p cache.Policy) (*credential.Credential, error) {
	var refused *credential.Credential // the last one that the pair doesn't prove
	claim := cache.Claim[*credential.Credential]{
		// Several tokens may have the same key, so the record may belong to another
		// token; Verify compares the access token too.
		Accept: func(c *credential.Credential) bool {
			if l.sealer.Verify(c, accessToken, secretToken, time.Now()) {
				return true
			}
			refused = c
			return false
		},
		Digest: func() [32]byte { return l.sealer.Digest(accessToken, secretToken) },
		Source: func() string { return source(client) },
	}
	key := l.store.Load().Key(accessToken)
	r, err := l.cache.Get(ctx, key, accessToken, p, claim)
	if errors.Is(err, cache.ErrRefused) && !l.plusLost(refused, accessToken, secretToken, client) {
		err = l.guessed(key, accessToken, client, err)
	}
	if err == nil {
		err = l.admit(r.Value, client)
	}
	return r.Value, err
}

// admit refuses a pair that is right, but not now, or not from where the client is.
func (l *live) admit(c *credential.Credential, client Client) error {
	switch {
	case c.Early(time.Now):
		return &RefusedError{ReasonEarly}
	case c.Restricted() && !c.Allows(address(client)):
		l.log.Warn("a pair is right, and refused because its record's allowed_ips don't have the client's address; "+
			"behind a proxy, Kong must trust it (trusted_ips, real_ip_header)",
			"reason", string(ReasonAddress), "credential", c.Fingerprint(), "client", shown(client))
		return &RefusedError{ReasonAddress}
	}
	return nil
}

// read is the cache's lookup.
func (l *live) read(ctx context.Context, key, accessToken string) (cache.Found[*credential.Credential], error) {
	var found cache.Found[*credential.Credential]
	s := l.begin()
	defer s.reads.Done()

	defer l.reads.since(time.Now())
	r, err := s.Read(ctx, accessToken)
	if err == nil && s.Key(r.AccessToken) != key {
		err = &secretstore.Absent{Reason: secretstore.ReasonUnusable, Err: &credential.UnusableError{
			Reason: "access_token",
			Detail: "it is not the token that the secret is named after",
			Remedy: "store the record under its access_token",
		}}
	}
	if err != nil {
		l.reportUnusable(accessToken, err)
		if l.failed != nil {
			l.failed(l.identity, err)
		}
		return found, err
	}
	l.reportProblems(accessToken, r.Problems(time.Now()))
	if r.Disabled {
		return found, &secretstore.Absent{Reason: secretstore.ReasonDisabled}
	}
	return foundOf(l.sealer.Seal(l.identity, r)), nil
}

// earlyTTL is how long a record is cached at most while it is refused because of its
// not_before: it may be corrected, as one that is refused for good.
const earlyTTL = 5 * time.Second

// foundOf is what the cache keeps of a credential.
func foundOf(c *credential.Credential) cache.Found[*credential.Credential] {
	ttl := c.TTL
	if c.Early(time.Now) && (ttl == 0 || ttl > earlyTTL) {
		ttl = earlyTTL
	}
	return cache.Found[*credential.Credential]{Value: c, TTL: ttl, Expires: c.ExpiresAt}
}

// fingerprint is a credential's name in logs.
func (l *live) fingerprint(accessToken string) string {
	return credential.Fingerprint(credential.ID(l.identity, accessToken))
}

// begin starts a read of the current store.
func (l *live) begin() *openStore {
	for {
		if s := l.store.Load(); s.begin() {
			return s
		}
	}
}

// swap replaces the store by s and returns the old one, which the caller retires.
func (l *live) swap(s secretstore.Store) *openStore {
	return l.store.Swap(&openStore{Store: s})
}

// close ends the listing and the cache, then the store.
func (l *live) close() error {
	l.revocation.close()
	l.cache.Close()
	l.snapshots.close()
	return l.store.Load().Close()
}
