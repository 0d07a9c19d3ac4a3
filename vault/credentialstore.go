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

// credentialStore is an open store of credentials and the cache in front of it. All
// objects with the same storeKey share one.
type credentialStore struct {
	identity string
	naming   credential.Naming
	place    credential.Naming // see placeOf
	blocked  *blocklist.List
	sealer   *credential.Sealer
	log      *slog.Logger // with the name of the object it was opened for
	conn     atomic.Pointer[connection]
	cache    *cache.Cache[*credential.Credential]
	reported reported
	guesses  guesses
	onError  func(identity string, err error) // is called with every error of a read; may be nil
	reads    readTimes

	revocation *revocation
	snapshots  *snapshots

	// Guarded by Registry.mu.
	key       storeKey
	name      string // of the object it was opened for
	number    int    // see Stats.Store
	config    secretstore.Config
	uses      []*use        // the newest last
	lastOwner string        // of the use that ended last, if there are no uses now
	idleSince time.Time     // if there are no uses
	linger    time.Duration // how long the store stays open without uses
	bound     time.Duration // the longest changeBound of all uses so far
}

// connection is an open store that counts the reads under way, so that it can be closed
// after the last one. A credentialStore gets another connection when its login changes.
type connection struct {
	secretstore.Store
	reads sync.WaitGroup

	mu      sync.Mutex
	retired bool // no more reads may begin
}

// begin starts a read, unless the connection is retired. The caller ends it with
// reads.Done.
func (c *connection) begin() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.retired {
		c.reads.Add(1)
	}
	return !c.retired
}

// retire closes the store after its last read.
func (c *connection) retire() error {
	c.mu.Lock()
	c.retired = true
	c.mu.Unlock()
	c.reads.Wait()
	return c.Close()
}

func newCredentialStore(identity string, s secretstore.Store, log *slog.Logger, maxEntries int) *credentialStore {
	cs := &credentialStore{identity: identity, naming: credential.NewNaming(identity), sealer: credential.NewSealer(), log: log}
	cs.conn.Store(&connection{Store: s})
	cs.cache = cache.New(cs.read, cache.Options[*credential.Credential]{MaxEntries: maxEntries, Observer: cs.observer(), Same: (*credential.Credential).Same})
	cs.revocation = newRevocation(cs)
	return cs
}

// get looks up a pair, whose form has been checked, through the cache.
func (cs *credentialStore) get(ctx context.Context, accessToken, secretToken string, client Client, p cache.Policy) (*credential.Credential, error) {
	var refused *credential.Credential // the last one that the pair doesn't prove
	claim := cache.Claim[*credential.Credential]{
		// Several tokens may have the same key, so the record may belong to another
		// token; Verify compares the access token too.
		Accept: func(c *credential.Credential) bool {
			if cs.sealer.Verify(c, accessToken, secretToken, time.Now()) {
				return true
			}
			refused = c
			return false
		},
		Digest: func() [32]byte { return cs.sealer.Digest(accessToken, secretToken) },
		Source: func() string { return source(client) },
	}
	key := cs.conn.Load().Key(accessToken)
	r, err := cs.cache.Get(ctx, key, accessToken, p, claim)
	if errors.Is(err, cache.ErrRefused) && !cs.plusLost(refused, accessToken, secretToken, client) {
		err = cs.guessed(key, accessToken, client, err)
	}
	if err == nil {
		err = cs.admit(r.Value, client)
	}
	return r.Value, err
}

// admit refuses a credential, although its pair is right, before its not_before and from
// addresses that its allowed_ips don't have.
func (cs *credentialStore) admit(c *credential.Credential, client Client) error {
	switch {
	case c.Early(time.Now):
		return &RefusedError{ReasonEarly}
	case c.Restricted() && !c.Allows(address(client)):
		cs.log.Warn("a right pair was refused because its record's allowed_ips don't have the client's address; "+
			"behind a proxy, Kong must trust it (trusted_ips, real_ip_header)",
			"reason", string(ReasonAddress), "credential", c.Fingerprint(), "client", addressText(client))
		return &RefusedError{ReasonAddress}
	}
	return nil
}

// read is the cache's lookup: it reads a record and seals it.
func (cs *credentialStore) read(ctx context.Context, key, accessToken string) (cache.Found[*credential.Credential], error) {
	conn := cs.begin()
	defer conn.reads.Done()

	defer cs.reads.since(time.Now())
	r, err := conn.Read(ctx, accessToken)
	if err == nil && conn.Key(r.AccessToken) != key {
		err = &secretstore.Absent{Reason: secretstore.ReasonUnusable, Err: &credential.UnusableError{
			Reason: "access_token",
			Detail: "it is not the token that the secret is named after",
			Remedy: "store the record under its access_token",
		}}
	}
	if err != nil {
		cs.reportUnusable(accessToken, err)
		if cs.onError != nil {
			cs.onError(cs.identity, err)
		}
		return cache.Found[*credential.Credential]{}, err
	}
	cs.reportProblems(accessToken, r.Problems(time.Now()))
	if r.Disabled {
		return cache.Found[*credential.Credential]{}, &secretstore.Absent{Reason: secretstore.ReasonDisabled}
	}
	return foundOf(cs.sealer.Seal(cs.identity, r)), nil
}

// earlyTTL is the maximum ttl of a record before its not_before: a correction should
// take effect as soon as for one that is absent.
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
func (cs *credentialStore) fingerprint(accessToken string) string {
	return credential.Fingerprint(credential.ID(cs.identity, accessToken))
}

// begin starts a read on the current connection. The caller ends it with reads.Done.
func (cs *credentialStore) begin() *connection {
	for {
		if conn := cs.conn.Load(); conn.begin() {
			return conn
		}
	}
}

// close ends the listing and the cache, then closes the store.
func (cs *credentialStore) close() error {
	cs.revocation.close()
	cs.cache.Close()
	cs.snapshots.close()
	return cs.conn.Load().Close()
}

// logCloseError logs an error from closing the store, which can only mean that its
// Vault token could not be revoked.
func (cs *credentialStore) logCloseError(err error) {
	if err != nil {
		cs.log.Warn("closing the secret store failed", "reason", "close", "err", err)
	}
}
