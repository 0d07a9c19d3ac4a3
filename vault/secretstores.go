package vault

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"time"

	"kong-vault-auth/cache"
	"kong-vault-auth/secretstore"
)

// Limits of the stores that are open for references.
const (
	maxSecretStores = 64   // each edit of an entity of Kong's makes another store
	maxSecrets      = 1000 // cached per store
	secretLinger    = time.Hour
)

// secretStore is an open store, and the cache of its secrets.
type secretStore struct {
	*connection
	secrets  secretstore.Secrets // the store of the connection
	identity string
	cache    *cache.Cache[secretstore.Secret]
	onError  func(identity string, err error) // is called with every error of a lookup
	used     time.Time                        // guarded by Secrets.mu
}

// acquire returns the store of d, and opens it if necessary. done must be called after
// its use. p says how old secrets of a snapshot may be that a new store starts with.
func (s *Secrets) acquire(d Definition, p cache.Policy) (store *secretStore, done func(), err error) {
	key := storeKey{identity: d.identity(), node: d.Node, settings: d.digest(s.registry.key)}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, nil, fmt.Errorf("%w: the resolver is closed", secretstore.ErrConfig)
	}
	store = s.stores[key]
	if store == nil {
		s.closeUnused(time.Now())
		if store, err = s.open(d, key); err != nil {
			return nil, nil, err
		}
		s.snapshot.restore(key.identity, store.cache, p)
		s.stores[key] = store
	}
	store.used = time.Now()
	store.reads.Add(1)
	return store, store.reads.Done, nil
}

func (s *Secrets) open(d Definition, key storeKey) (*secretStore, error) {
	opened, err := s.registry.openStore(d, key.identity, secretstore.Reach{})
	if err != nil {
		return nil, err
	}
	secrets, can := opened.(secretstore.Secrets)
	if !can {
		_ = opened.Close() // nothing was read
		return nil, fmt.Errorf("%w: the vault %s can hold only credentials, no other secrets", secretstore.ErrConfig, d.Name)
	}
	store := &secretStore{connection: &connection{Store: opened}, secrets: secrets, identity: key.identity, onError: s.registry.logins.noteRefusal}
	store.cache = cache.New(store.lookup, cache.Options[secretstore.Secret]{
		MaxEntries: maxSecrets,
		Observer:   observeSecrets(s.registry.options.Logger.With("vault", d.Config.Place())),
	})
	return store, nil
}

// lookup is the cache's lookup. name is a secretKey as text.
func (s *secretStore) lookup(ctx context.Context, _, name string) (found cache.Found[secretstore.Secret], err error) {
	var k secretKey
	if err := json.Unmarshal([]byte(name), &k); err != nil {
		return found, err
	}
	secret, err := s.secrets.Secret(ctx, k.Name, k.Version)
	if err != nil {
		s.onError(s.identity, err)
	}
	return cache.Found[secretstore.Secret]{Value: secret, Expires: secret.Expires}, err
}

// observeSecrets logs the beginning and the end of an outage.
func observeSecrets(log *slog.Logger) cache.Observer {
	return cache.Observer{
		OutageBegan: func(err error, _, _ time.Time) {
			log.Warn("the secret store fails; references to cached secrets are still answered", "reason", reasonOf(err), "err", err)
		},
		OutageEnded: func(d time.Duration) {
			log.Info("the secret store answers again", "reason", "recovered", "after", d.Round(time.Second).String())
		},
	}
}

// closeUnused closes stores that were not used for secretLinger and, if there are still
// too many, the one that was used least recently. s.mu is held.
func (s *Secrets) closeUnused(now time.Time) {
	var oldest storeKey
	for key, store := range s.stores {
		if now.Sub(store.used) > secretLinger {
			s.closeStore(key)
		} else if o := s.stores[oldest]; o == nil || store.used.Before(o.used) {
			oldest = key
		}
	}
	if len(s.stores) >= maxSecretStores {
		s.closeStore(oldest)
	}
}

func (s *Secrets) closeStore(key storeKey) {
	store := s.stores[key]
	delete(s.stores, key)
	s.registry.closing.Go(func() {
		store.cache.Close()
		if err := store.retire(); err != nil {
			s.registry.options.Logger.Warn("closing the secret store failed", "reason", "close", "err", err)
		}
	})
}

// close closes all stores. References can't be resolved afterwards.
func (s *Secrets) close() {
	s.closeSnapshot()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for key := range s.stores {
		s.closeStore(key)
	}
}
